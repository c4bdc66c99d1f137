"""The second verifier: its command, confinement, failures and selection."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from leaks import assert_no_more_than, held

from kimina_jax.configs.common import get_config
from kimina_jax.types import Problem, UsageError
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.process import sandbox
from kimina_jax.verification.second_verifier import VerifierCommand
from kimina_jax.verification.settings import CheckerSettings

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "import Mathlib\n\nset_option maxHeartbeats 0\nopen Real\n\n"
PROBLEM = Problem("t", HEADER, "theorem t (x : ℤ) (h : x = 3) : x = 3 := by")
# Words of the proof select its behaviour; `sorry` is rejected.
VERIFIER = """
import os, pathlib, signal, socket, subprocess, sys, time
proof = pathlib.Path(sys.argv[2]).read_text()
for word in ("hangs", "leaves", "flood", "killed", "odd", "orphan", "look"):
  if word in proof:
    break
else:
  word = ""
if word == "hangs":
  time.sleep(600)
if word == "leaves":
  if os.fork() == 0:
    time.sleep(600)
if word == "orphan":
  sleep = "import time; time.sleep(600)"
  subprocess.Popen(
    [sys.executable, "-I", "-S", "-c", sleep, __file__], start_new_session=True
  )
if word == "flood":
  for _ in range(2000):
    os.write(1, b"x" * 65536)
  print("the end")
if word == "killed":
  os.kill(os.getpid(), signal.SIGKILL)
if word == "odd":
  sys.exit(2)
if word == "look":
  print(sorted(os.environ), os.listdir("/tmp"), os.path.exists(sys.argv[3]))
  pathlib.Path(os.environ["TMPDIR"], "scratch").write_text("fine")
  for path in sys.argv[1], sys.argv[3], "/etc/scratch":
    try:
      open(path, "a").close()
      print("WRITTEN", path)
    except OSError:
      pass
  try:
    socket.create_connection(("127.0.0.1", int(sys.argv[4])), timeout=2)
    print("CONNECTED")
  except OSError:
    pass
print("looked at", sys.argv[2])
sys.exit(1 if "sorry" in proof or "refused" in proof else 0)
"""


def python(tmp_path: pathlib.Path, program: str, *words: str) -> str:
  script = tmp_path / "verifier.py"
  script.write_text(program)
  return " ".join([sys.executable, "-I", "-S", str(script), *words])


def config(command: str, **changes) -> CheckerSettings:
  options = {
    **get_config().checker,
    "second_command": command,
    "second_share": 0.0,
    "second_timeout_s": 10.0,
    "isolation": "rlimit",
    # What Python needs is readable as a library of Lean's would be.
    "lean_path": ":".join(sandbox.python_paths(())),
  }
  return CheckerSettings(**{**options, **changes})


def audit_of(body: str) -> Audit:
  final = f"{HEADER}lemma a : 1 = 1 := rfl\n\n{PROBLEM.statement}\n  {body}"
  audit = prepare_audit(PROBLEM, final, SyntaxRules(400_000, False))
  assert isinstance(audit, Audit), audit
  return audit


@pytest.fixture
def nothing_left():
  before, threads = held(), set(threading.enumerate())
  yield
  assert_no_more_than(before)
  assert set(threading.enumerate()) <= threads


def running(tmp_path: pathlib.Path) -> list[int]:
  """Processes that were started with a file of this test."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(OSError):
      if str(tmp_path).encode() in path.read_bytes():
        found.append(int(path.parent.name))
  return found


MODES = [
  pytest.param(
    "bwrap",
    marks=pytest.mark.skipif(
      bool(sandbox.bwrap_problem()), reason="bwrap does not work here"
    ),
  ),
  "rlimit",
]


@pytest.mark.parametrize("isolation", MODES)
def test_opinions(tmp_path, nothing_left, isolation):
  command = python(tmp_path, VERIFIER, "{target} {proof} {name}")
  second = VerifierCommand(config(command, isolation=isolation))
  opinion = second.run(PROBLEM, audit_of("omega"))
  assert opinion.agrees is True
  assert "exit status 0; looked at" in opinion.detail
  assert 0 < opinion.seconds < 10
  opinion = second.run(PROBLEM, audit_of("omega -- refused"))
  assert opinion.agrees is False
  assert "exit status 1; looked at" in opinion.detail


@pytest.mark.parametrize("isolation", MODES)
@pytest.mark.parametrize(
  ("word", "agrees", "words"),
  [
    ("hangs", None, "no answer in time"),
    ("odd", None, "exit status 2"),
    ("killed", None, "exit status"),
    ("flood", True, "the end"),
    ("leaves", True, "looked at"),
    ("orphan", True, "looked at"),
  ],
)
def test_a_verifier_that_misbehaves(
  tmp_path, nothing_left, isolation, word, agrees, words
):
  """It is killed with its descendants, and its failure is not a refusal."""
  command = python(tmp_path, VERIFIER, "{target} {proof}")
  second = VerifierCommand(
    config(command, isolation=isolation, second_timeout_s=2.0)
  )
  opinion = second.run(PROBLEM, audit_of(f"omega -- {word}"))
  assert opinion.agrees is agrees
  assert words in opinion.detail
  assert opinion.seconds < 5
  assert len(opinion.detail) < 3000
  # Without namespaces or control groups, what detaches itself lives on.
  if word != "orphan" or isolation == "bwrap":
    # The kernel takes a moment to end what has been killed.
    deadline = time.monotonic() + 5.0
    while running(tmp_path) and time.monotonic() < deadline:
      time.sleep(0.01)
    assert not running(tmp_path)
  for pid in running(tmp_path):
    os.kill(pid, signal.SIGKILL)


def test_files(tmp_path):
  """Imports, preamble and statement are the data set's, below the ceilings."""
  program = (
    "import pathlib, shutil, sys\n"
    f"for name in sys.argv[1:3]: shutil.copy(name, {str(tmp_path)!r})\n"
    f"pathlib.Path({str(tmp_path)!r}, 'name').write_text(sys.argv[3])\n"
  )
  command = python(tmp_path, program, "{target} {proof} {name}")
  audit = audit_of("omega")
  assert VerifierCommand(config(command)).run(PROBLEM, audit).agrees
  target = (tmp_path / "Target.lean").read_text()
  proof = (tmp_path / "Proof.lean").read_text()
  assert (tmp_path / "name").read_text() == "t"
  assert target.split("\n")[0] == proof.split("\n")[0] == "import Mathlib"
  assert target.rstrip().endswith(f"{PROBLEM.statement}\n  sorry")
  assert proof.rstrip().endswith(f"{PROBLEM.statement}\n  omega")
  for text in (target, proof):
    assert text.count("maxHeartbeats 400000") == 1
    assert "maxHeartbeats 0" not in text
    assert text.count("open Real") == 1
  assert "lemma a : 1 = 1 := rfl" in proof and "lemma" not in target


@pytest.mark.skipif(
  bool(sandbox.bwrap_problem()), reason="bwrap does not work here"
)
def test_it_is_confined(tmp_path, monkeypatch):
  """The verifier compiles what a model wrote."""
  import socket

  monkeypatch.setenv("SECRET_TOKEN", "x")
  with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    command = python(
      tmp_path, VERIFIER, "{target} {proof}", str(ROOT / "setup.py"), str(port)
    )
    second = VerifierCommand(config(command, isolation="bwrap"))
    opinion = second.run(PROBLEM, audit_of("omega -- look"))
  assert opinion.agrees is True
  for word in ("WRITTEN", "CONNECTED", "SECRET_TOKEN"):
    assert word not in opinion.detail
  # A word of the command that names a file may be read.
  assert "True" in opinion.detail


def test_is_selected(tmp_path):
  """First proofs, and a share of the others that depends on their text only."""
  command = python(tmp_path, VERIFIER, "{target} {proof}")
  second = VerifierCommand(config(command, second_share=0.25))
  others = [f"proof {number}" for number in range(2000)]
  assert second.is_selected(PROBLEM, others[0])
  drawn = [text for text in others[1:] if second.is_selected(PROBLEM, text)]
  assert 400 < len(drawn) < 600
  again = VerifierCommand(config(command, second_share=0.25))
  assert again.is_selected(PROBLEM, "another")
  assert drawn == [
    text for text in others[1:] if again.is_selected(PROBLEM, text)
  ]
  other = Problem("u", HEADER, "theorem u : 1 = 1 := by")
  assert again.is_selected(other, others[1])
  none = VerifierCommand(config(command, second_share=0.0))
  assert [none.is_selected(PROBLEM, text) for text in others].count(True) == 1
  every = VerifierCommand(config(command, second_share=1.0))
  assert all(every.is_selected(PROBLEM, text) for text in others)


def test_a_first_proof_that_it_could_not_judge_is_none(tmp_path):
  command = python(tmp_path, VERIFIER, "{target} {proof}")
  second = VerifierCommand(config(command))
  assert second.is_selected(PROBLEM, "a")
  assert second.run(PROBLEM, audit_of("omega -- odd")).agrees is None
  assert second.is_selected(PROBLEM, "b")
  assert second.run(PROBLEM, audit_of("omega")).agrees
  assert not second.is_selected(PROBLEM, "c")


def test_kill(tmp_path, nothing_left):
  command = python(tmp_path, VERIFIER, "{target} {proof}")
  second = VerifierCommand(config(command, second_timeout_s=60.0))
  timer = threading.Timer(0.5, second.kill)
  timer.start()
  started_s = time.monotonic()
  opinion = second.run(PROBLEM, audit_of("omega -- hangs"))
  assert time.monotonic() - started_s < 5
  assert opinion.agrees is None
  assert second.run(PROBLEM, audit_of("omega")).agrees is None
  timer.join()


@pytest.mark.parametrize(
  ("command", "words"),
  [
    ("nowhere_to_be_found {proof}", "is not found"),
    ("", "is not found"),
    ("'open {proof}", "close every quotation mark"),
    (f"{sys.executable} {{target}}", "must hold {proof}"),
    (f"{sys.executable} {{proof}} {{file}}", "may hold {target} and {name}"),
    (f"{sys.executable} {{proof}} {{}}", "may hold {target} and {name}"),
    (f"{sys.executable} -c 'raise SystemExit(1)' {{proof}}", "proof of True"),
    (f"{sys.executable} -c 'raise SystemExit(2)' {{proof}}", "exit status 2"),
  ],
)
def test_bad_commands(command, words):
  with pytest.raises(UsageError) as caught:
    VerifierCommand(config(command))
  assert words in str(caught.value)


def test_a_verifier_that_accepts_anything_is_reported(tmp_path, caplog):
  second = VerifierCommand(config(python(tmp_path, "", "{target} {proof}")))
  assert "accepts a proof by sorry" in caplog.text
  assert second.run(PROBLEM, audit_of("omega")).agrees


def test_no_shell_reads_the_command(tmp_path):
  program = "import sys; sys.exit(sys.argv[2:] != ['$HOME;exit 0', '>x'])"
  command = python(tmp_path, program, "{proof} '$HOME;exit 0' '>x'")
  VerifierCommand(config(command))


# The wrapper for verifiers of compiled files.

LEAN = """#!/bin/sh
# lean -o OLEAN FILE: copies the file; fails as the file says.
test "$1" = -o || exit 64
read_all=$(cat "$3")
case $read_all in
  *does_not_compile*) echo "error: no"; exit 1 ;;
  *lean_is_killed*) kill -9 $$ ;;
esac
echo "warning: declaration uses 'sorry'"
cp "$3" "$2"
"""
SAFE_VERIFY = """#!/bin/sh
# safe_verify TARGET PROOF: compares the compiled files.
grep -q "theorem t" "$1" || exit 65
case $(cat "$2") in
  *sorry* | *refused*) echo "uncaught exception: failed" >&2; exit 1 ;;
  *breaks*) exit 134 ;;
esac
"""
LEANCHECKER = """#!/bin/sh
# leanchecker MODULE: finds it on LEAN_PATH.
test "$1" = Proof || exit 66
found=${LEAN_PATH%%:*}/Proof.olean
case $(cat "$found") in *refused*) exit 1 ;; esac
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
  folder = tmp_path / "bin"
  folder.mkdir()
  for name, text in (
    ("lean", LEAN),
    ("safe_verify", SAFE_VERIFY),
    ("leanchecker", LEANCHECKER),
  ):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
  monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
  # As if a toolchain were chosen, so that elan is not run.
  monkeypatch.setenv("LEAN_SYSROOT", str(tmp_path))
  return folder


@pytest.mark.parametrize(
  ("body", "agrees", "words"),
  [
    ("omega", True, "exit status 0"),
    ("omega -- refused", False, "uncaught exception"),
    ("omega -- does_not_compile", False, "the proof does not compile"),
    (
      "omega -- lean_is_killed",
      None,
      "lean crashed or was killed while it compiled",
    ),
    ("omega -- breaks", None, "ended without an answer"),
  ],
)
def test_wrapper(tools, body, agrees, words):
  script = ROOT / "launch" / "second_verifier.sh"
  command = f"sh {script} {tools}/safe_verify {{target}} {{proof}}"
  opinion = VerifierCommand(config(command)).run(PROBLEM, audit_of(body))
  assert opinion.agrees is agrees
  assert words in opinion.detail


def test_wrapper_with_leanchecker(tools, caplog):
  script = ROOT / "launch" / "second_verifier.sh"
  command = f"sh {script} {tools}/leanchecker {{target}} {{proof}}"
  second = VerifierCommand(config(command))
  assert "accepts a proof by sorry" in caplog.text
  assert second.run(PROBLEM, audit_of("omega")).agrees
  assert second.run(PROBLEM, audit_of("omega -- refused")).agrees is False


def test_wrapper_with_a_statement_that_does_not_compile(tools):
  script = ROOT / "launch" / "second_verifier.sh"
  target = tools / "Target.lean"
  target.write_text("does_not_compile")
  done = subprocess.run(
    ["sh", script, tools / "safe_verify", target, target],
    capture_output=True,
    text=True,
    env={**os.environ, "TMPDIR": str(tools)},
  )
  assert done.returncode == 2
  assert "the statement does not compile" in done.stdout
  assert (
    shutil.which("sh") and subprocess.run(["sh", "-n", script]).returncode == 0
  )
