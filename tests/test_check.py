"""Lean files from the command line: found, parsed, checked and shown."""

import concurrent.futures
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kimina_jax.check import files as leanfile
from kimina_jax.check.files import (
  LeanFile,
  TextEdit,
  find_files,
  load_file,
)
from kimina_jax.check.run import check_files
from kimina_jax.check.view import CheckView
from kimina_jax.configs import common
from kimina_jax.types import Message, Problem, Status, Verdict
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
HEADER = "import Mathlib\n\n"
STATEMENT = "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by"
GOOD = f"{HEADER}{STATEMENT}\n  omega\n"
BAD = f"{HEADER}{STATEMENT}\n  have h2 : x = 4 := by omega\n  omega\n"
SORRY = f"{HEADER}{STATEMENT}\n  sorry\n"


def entry_of(tmp_path, text, problems=None, name="a.lean") -> LeanFile:
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return load_file(LeanFile(str(path)), problems)


@pytest.mark.parametrize(
  ("text", "header", "statement"),
  [
    (GOOD, HEADER, STATEMENT),
    (STATEMENT + " omega", "", STATEMENT),
    (
      "-- why\nimport A\nimport B\n\nopen Nat Real\nset_option maxHeartbeats 9"
      "\n/-- words -/\ntheorem t : 1 < 2 := by omega",
      "-- why\nimport A\nimport B\n\nopen Nat Real\nset_option maxHeartbeats 9"
      "\n\n",
      "theorem t : 1 < 2 := by",
    ),
    (
      "import A\nopen Nat in\ntheorem t : 1 < 2 := by omega",
      "import A\n\n",
      "theorem t : 1 < 2 := by",
    ),
    (
      "import A\nlemma a : 1 = 1 := rfl\nopen Nat\n"
      "lemma b.c : 1 < 2 :=\n  by x",
      "import A\n\n",
      "lemma b.c : 1 < 2 := by",
    ),
    (
      "theorem t (x : ℕ := 3) : let y := x; y = x := by rfl\nend",
      "",
      "theorem t (x : ℕ := 3) : let y := x; y = x := by",
    ),
    ("@[simp] theorem t : p := by q", "", "theorem t : p := by"),
  ],
)
def test_a_file_states_what_it_proves(tmp_path, text, header, statement):
  entry = entry_of(tmp_path, text)
  assert entry.error == ""
  assert entry.problem.header == header
  assert entry.problem.statement == statement
  assert entry.problem.name == statement.split()[1]
  assert entry.final == entry.text == text


@pytest.mark.parametrize(
  ("text", "final", "statement"),
  [
    (
      "theorem t : 1 = 1 := rfl",
      "theorem t : 1 = 1 := by exact rfl",
      "theorem t : 1 = 1 := by",
    ),
    (
      "example : 1 = 1 := rfl",
      "theorem unnamed_example : 1 = 1 := by exact rfl",
      "theorem unnamed_example : 1 = 1 := by",
    ),
    (
      "import A\n\n example (x : ℕ) :\n  x = x :=\n  rfl",
      "import A\n\n theorem unnamed_example (x : ℕ) :\n  x = x := by exact\n"
      "  rfl",
      "theorem unnamed_example (x : ℕ) :\n  x = x := by",
    ),
    (
      "example : 1 = 1 := by rfl",
      "theorem unnamed_example : 1 = 1 := by rfl",
      "theorem unnamed_example : 1 = 1 := by",
    ),
  ],
)
def test_a_term_and_an_example_become_a_named_proof_by_tactics(
  tmp_path, text, final, statement
):
  entry = entry_of(tmp_path, text)
  assert entry.text == text and entry.final == final
  assert entry.problem.statement == statement


words = st.text(st.sampled_from("ab ∀"), max_size=8)


@given(st.lists(st.tuples(words, words, words.filter(bool)), max_size=4), words)
def test_places_in_what_is_checked_are_places_in_the_file(parts, end):
  """Positions of unedited characters map to the file and back."""
  text, final, edits, pairs = "", "", [], []
  for kept, removed, inserted in parts:
    pairs += [(len(text) + i, len(final) + i) for i in range(len(kept))]
    text, final = text + kept, final + kept
    edits.append(TextEdit(len(text), 7, len(text), removed, inserted))
    text, final = text + removed, final + inserted
  pairs += [(len(text) + i, len(final) + i) for i in range(len(end))]
  text, final = text + end, final + end
  assert leanfile._apply(edits, text) == final
  entry = LeanFile("a.lean", text=text, edits=tuple(edits))
  for before, after in pairs:
    message = Message("error", 7, after, 7, after, "")
    place = entry.locate(message)
    assert (place.line, place.column) == (7, before)
    assert place.end_column == before
    elsewhere = Message("error", 6, after, 8, after, "")
    assert entry.locate(elsewhere) == elsewhere


@pytest.mark.parametrize(
  ("text", "words"),
  [
    (b"", "the file is empty"),
    (" \n\t\n", "the file is empty"),
    (b"theorem t : \xff", "not UTF-8: byte 0xff at offset 12"),
    (b"-- " + b"x" * 2**20, "more than 1048576 bytes"),
    ("-- theorem t : 1 < 2 := by omega", "there is no theorem in this file"),
    ("theorem : 1 < 2 := by omega", "its last theorem has no name"),
    ("theorem", "its last theorem has no name"),
    ("theorem t : 1 < 2", "the theorem in line 1 has no proof"),
    ("theorem t : 1 < 2 :=", "the theorem in line 1 has no proof"),
    ("\ntheorem t : p\n| 0 => x\ndef f := 1", "theorem in line 2 has no proof"),
    ("theorem t : 1 < 2 /- x", "this is not Lean: comment that does not end"),
    ("theorem t : \x00", "forbidden character U+0000"),
  ],
)
def test_what_cannot_be_checked_says_why_in_one_line(tmp_path, text, words):
  entry = entry_of(tmp_path, text)
  assert words in entry.error
  assert "\n" not in entry.error
  assert entry.problem is None


def test_what_cannot_be_read_says_why(tmp_path):
  assert (
    load_file(LeanFile("no/such.lean"), None).error == "there is no such file"
  )
  assert "cannot be read" in load_file(LeanFile(str(tmp_path)), None).error


def problem(name):
  return Problem(name, HEADER, f"theorem {name} : 1 < 2 := by")


@pytest.mark.parametrize(
  ("text", "stem", "name"),
  [
    ("theorem a : x := by y", "b", "a"),
    ("theorem a : x := by y", "c", "a"),
    ("theorem a : x := by y\nlemma b : x := by y", "c", "b"),
    ("theorem b : x := by y\nlemma z : x := by y", "a", "b"),
    ("theorem z : x := by y", "a", "a"),
    ("theorem «a» : x := by y", "b", "b"),
    ("/- no end", "a", "a"),
  ],
)
def test_the_problem_is_found_by_name(tmp_path, text, stem, name):
  problems = {n: problem(n) for n in ("a", "b")}
  entry = entry_of(tmp_path, text, problems, f"{stem}.lean")
  assert entry.problem == problems[name]
  assert entry.final == text and entry.edits == ()


def test_a_problem_that_is_not_there(tmp_path):
  entry = entry_of(tmp_path, GOOD, {"a": problem("a")}, "stem.lean")
  assert "none of the problems is called t, stem:" in entry.error


def test_directories_are_walked_in_order(tmp_path):
  for name in ("b/2.lean", "b/10.lean", "a.lean", "c/d/e.lean", "c/f.txt"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / ".lake").mkdir()
  (tmp_path / ".lake" / "hidden.lean").touch()
  (tmp_path / "c" / "round").symlink_to(tmp_path)
  (tmp_path / "none").mkdir()
  names = [str(tmp_path), "-", str(tmp_path / "none"), "absent.lean"]
  found = list(find_files(names))
  paths = [os.path.relpath(entry.path, tmp_path) for entry in found[:4]]
  assert paths == ["a.lean", "b/10.lean", "b/2.lean", "c/d/e.lean"]
  assert [entry.path for entry in found[4:]] == names[1:]
  assert [bool(entry.error) for entry in found[4:]] == [False, True, False]
  assert "no *.lean file" in found[5].error


def settings(**changes) -> CheckerSettings:
  return CheckerSettings(**{**common.get_config().checker, **changes})


@pytest.fixture(scope="module")
def pool():
  with VerificationPool(settings(num_workers=2)) as pool:
    yield pool


def view(file=None, **changes) -> CheckView:
  console = Console(file=file or io.StringIO(), width=90, highlight=False)
  options = {"as_json": False, "quiet": False}
  return CheckView(console, checker="minilean", **{**options, **changes})


def shown(pool, paths, problems=None, **changes) -> str:
  file = io.StringIO()
  seen = view(file, **changes)
  check_files(
    pool,
    find_files([str(path) for path in paths]),
    problems,
    settings=settings(),
    confirm=False,
    view=seen,
  )
  return file.getvalue()


def write(directory, **texts) -> list[pathlib.Path]:
  paths = []
  for name, text in texts.items():
    paths.append(directory / f"{name}.lean")
    paths[-1].write_text(text, "utf-8")
  return paths


def test_a_verdict_is_shown_with_its_messages_in_place(pool, tmp_path):
  paths = write(tmp_path, good=GOOD, bad=BAD)
  good, bad = shown(pool, paths).split(f"{paths[1]}: ", 1)
  assert good.startswith(f"{paths[0]}: proved in ")
  assert "\n  axioms: propext" in good
  assert bad.startswith("lean_error in ")
  lines = bad.splitlines()
  assert lines[1].startswith(f"{paths[1]}:4:24: error: ")
  at = lines.index("    have h2 : x = 4 := by omega")
  assert lines[at + 1] == " " * 26 + "^" * 5
  quiet = shown(pool, paths, quiet=True)
  assert "proved" not in quiet and "lean_error" in quiet


def test_messages_about_a_term_are_at_its_place_in_the_file(pool, tmp_path):
  paths = write(tmp_path, term=f"{HEADER}example : 2 + 2 = 5 := rfl")
  lines = shown(pool, paths).splitlines()
  assert lines[0].startswith(f"{paths[0]}: lean_error in ")
  at = lines.index("  example : 2 + 2 = 5 := rfl")
  column = lines[at + 1].index("^") - 2
  assert f"{paths[0]}:3:{column}: error: " in "\n".join(lines)
  assert column in (
    len("example : 2 + 2 = 5 :="),
    len("example : 2 + 2 = 5 := "),
  )
  paths = write(tmp_path, term=f"{HEADER}example : 2 + 2 = 4 := rfl")
  assert "proved in" in shown(pool, paths)


def test_a_refusal_is_shown_at_its_place(pool, tmp_path):
  text = f"{HEADER}{STATEMENT}\n  native_decide"
  text = shown(pool, write(tmp_path, refused=text))
  assert "forbidden_syntax in " in text
  assert "refused.lean:4:2: error: " in text
  assert "\n    native_decide\n    ^^^^^^^^^^^^^\n" in text


def test_the_statement_comes_from_the_problems(pool, tmp_path):
  """The file's own claim of what it proves is ignored."""
  other = f"{HEADER}theorem t (x : ℤ) (h : x + 2 = 5) : x = x := by\n  rfl"
  paths = write(tmp_path, other=other)
  assert "proved" in shown(pool, paths)
  known = {"t": Problem("t", HEADER, STATEMENT)}
  assert "statement_mismatch" in shown(pool, paths, known)
  paths = write(tmp_path, good=GOOD, header=f"open Nat\n{STATEMENT}\n  omega")
  good, header = shown(pool, paths, known).splitlines()[::2][:2]
  assert ": proved in" in good
  assert ": statement_mismatch in" in header


def test_a_statement_of_the_file_s_own_words_has_a_hint(pool, tmp_path):
  """The file's definitions come after the trusted statement."""
  text = f"{HEADER}def p : Prop := 1 < 2\n\ntheorem t : p := by\n  omega"
  text = shown(pool, write(tmp_path, own=text))
  assert "statement_mismatch in" in text
  assert "must stand at the top level of its file and use none of" in text


def test_files_are_shown_in_their_order(pool, tmp_path):
  names = [f"f{i:02}" for i in range(40)]
  texts = {
    name: f"{HEADER}theorem {name} : {i} < 40 := by\n  omega"
    for i, name in enumerate(names)
  }
  paths = write(tmp_path, **texts)
  lines = [x for x in shown(pool, paths).splitlines() if ": proved" in x]
  assert [line.split(":")[0] for line in lines] == [*map(str, paths)]


def test_real_proofs_are_understood(data_dir, tmp_path):
  """Each by its own statement; the REPL accepts every proof."""
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  for line in path.read_text().splitlines():
    row = json.loads(line)
    (tmp_path / f"{row['name']}.lean").write_text(row["correct_proof"])
  fake = f"{sys.executable} -I -S {HERE / 'fake_repl.py'}"
  options = settings(backend="repl", command=fake, isolation="rlimit")
  with VerificationPool(options) as yes:
    text = shown(yes, [tmp_path, data_dir / "kimina-server"])
  assert text.count(": proved in ") == 197 - 11 + 68
  assert text.count(": forbidden_syntax in ") == 11
  assert (
    text.count("error: command or tactic not allowed: 'native_decide'") == 11
  )


class SlowPool:
  """A pool that gives verdicts when `limit` proofs wait; records the most."""

  def __init__(self, seen: CheckView, limit: int):
    self.seen, self.limit, self.most, self.futures = seen, limit, 0, []

  def submit(self, problem, extraction, *, confirm):
    self.futures.append(concurrent.futures.Future())
    num_waiting = len(self.futures) - self.seen.num_files
    self.most = max(self.most, num_waiting)
    if num_waiting >= self.limit:
      for future in self.futures:
        if not future.done():
          future.set_result(Verdict(Status.PROVED))
    return self.futures[-1]


def test_few_files_are_held_at_a_time(tmp_path):
  (path,) = write(tmp_path, a=GOOD)
  seen = view(quiet=True)
  slow = SlowPool(seen, limit=8)
  stopped = check_files(
    slow,
    (LeanFile(str(path)) for _ in range(800)),
    None,
    settings=settings(max_pending=8),
    confirm=False,
    view=seen,
  )
  assert stopped == "" and seen.num_proved == 800
  assert slow.most <= 9


def run(*arguments, stdin=None, code=0):
  done = subprocess.run(
    [sys.executable, "-m", "kimina_jax.check", *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    encoding="utf-8",
    input=stdin,
    timeout=120,
  )
  assert done.returncode == code, done.stdout + done.stderr
  return done.stdout, done.stderr


def test_command_line_all_proved(tmp_path):
  write(tmp_path, a=GOOD, b=f"{HEADER}example : 1 < 2 := by\n  omega")
  out, errors = run(tmp_path, "--jobs=1")
  assert errors == ""
  assert out.count(": proved in ") == 2
  assert "2 files in " in out
  assert "checked by minilean, not Lean; isolation " in out
  assert "the statement was not" in out


def test_command_line_some_not_proved(tmp_path):
  paths = write(tmp_path, a=GOOD, b=SORRY)
  (tmp_path / "c.lean").write_bytes(b"\xff")
  problems = tmp_path / "problems.jsonl"
  row = {"name": "t", "header": HEADER, "statement": STATEMENT}
  problems.write_text(json.dumps(row) + "\n")
  flags = (f"--problems={problems}", "--json")
  out, errors = run(*flags, tmp_path, "absent.lean", "-", stdin=BAD, code=2)
  rows = [json.loads(line) for line in out.splitlines()]
  assert [row["status"] for row in rows] == [
    *("proved", "has_sorry", "not_checked", "not_checked", "lean_error")
  ]
  assert [row["proved"] for row in rows] == [True] + 4 * [False]
  assert len({frozenset(row) for row in rows}) == 1
  assert rows[0]["file"] == str(paths[0]) and rows[0]["name"] == "t"
  assert rows[0]["messages"] == [] and "propext" in rows[0]["axioms"]
  assert rows[4]["file"] == "-"
  assert {row["statement_from"] for row in rows} == {"problems"}
  assert rows[4]["messages"][0]["line"] == 4
  assert errors == (
    f"error: {tmp_path}/c.lean: not UTF-8: byte 0xff at offset 0\n"
    "error: absent.lean: there is no such file\n"
  )


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ([], "no file given"),
    (["absent.lean"], "absent.lean: there is no such file"),
    (["{empty}"], "there is no *.lean file in this directory"),
    (["--confirm", "a.lean"], "--confirm needs a second verifier"),
    (["--jobs=0", "a.lean"], "jobs"),
    (["--problems=absent.jsonl", "a.lean"], "no problem file at"),
    (["--doctor", "a.lean"], "--doctor takes no file"),
    (["--config.checker.isolation=none", "a.lean"], "allow_none"),
  ],
)
def test_command_line_nothing_can_be_checked(tmp_path, arguments, words):
  arguments = [a.replace("{empty}", str(tmp_path)) for a in arguments]
  out, errors = run(*arguments, code=1)
  assert out == ""
  assert errors.startswith("error: ") and words in errors
  assert errors.count("\n") == 1


@pytest.mark.parametrize(
  ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_lets_what_has_begun_end(tmp_path, signum, code):
  mark = tmp_path / "mark"
  texts = {
    f"f{i}": f"{STATEMENT}\n  omega -- {i} FAULT:slow" for i in range(1, 9)
  }
  first = f"{STATEMENT}\n  omega -- FAULT:slow@{mark}"
  paths = write(tmp_path, f0=first, **texts)
  process = subprocess.Popen(
    [sys.executable, "-m", "kimina_jax.check", "--json", "--jobs=1"]
    + ["--config.checker.backend=repl", "--config.checker.isolation=rlimit"]
    + [
      f"--config.checker.command={sys.executable} -I -S {HERE / 'fake_repl.py'}"
    ]
    + [*map(str, paths), "absent.lean"],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    encoding="utf-8",
  )
  deadline = time.monotonic() + 60
  while not mark.exists() and time.monotonic() < deadline:
    time.sleep(0.02)
  process.send_signal(signum)
  out, errors = process.communicate(timeout=60)
  assert process.returncode == code, errors
  rows = [json.loads(line) for line in out.splitlines()]
  assert [row["file"] for row in rows] == [*map(str, paths), "absent.lean"]
  statuses = [row["status"] for row in rows]
  num_skipped = statuses.count("not_checked") - 1  # the last one is absent
  assert num_skipped >= 5
  assert statuses == ["proved"] * (9 - num_skipped) + ["not_checked"] * (
    num_skipped + 1
  )
  notice = f"stopped: {signal.Signals(signum).name}; {num_skipped} files were"
  assert notice in errors
