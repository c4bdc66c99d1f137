"""Access of a confined process, compared with an unconfined one.

Each probe runs twice, inside and outside: what is out of reach inside must be
within reach outside, or the probe would show nothing.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import sys
import time

import pytest
from leaks import assert_all_end

import kimina_jax
from kimina_jax.types import Status, UsageError
from kimina_jax.verification.process import memory, sandbox
from kimina_jax.verification.process.protocol import WorkerFailure
from kimina_jax.verification.process.repl import Repl
from kimina_jax.verification.process.sandbox import (
  Sandbox,
  python_paths,
  resolve_mode,
)

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
PYTHON = (sys.executable, "-I", "-S", "-c")

needs_bwrap = pytest.mark.skipif(
  resolve_mode("auto") != "bwrap",
  reason=f"bwrap does not work here: {sandbox.bwrap_problem()}",
)
LIMITED = ["rlimit", pytest.param("bwrap", marks=needs_bwrap)]
MODES = ["none", *LIMITED]


def confined(
  mode: str,
  program: str,
  *,
  cpu_s: float = 60.0,
  address_gib: float = 4.0,
  paths: tuple[str, ...] = (),
) -> subprocess.CompletedProcess:
  box = Sandbox(mode, (*python_paths(()), *paths), cpu_s, address_gib)
  return subprocess.run(
    box.wrap([*PYTHON, program], ENV), env=ENV, capture_output=True, text=True
  )


def test_modes():
  assert resolve_mode("none") == "none"
  assert resolve_mode("rlimit") == "rlimit"
  assert resolve_mode("auto") in ("bwrap", "rlimit")
  with pytest.raises(UsageError, match="'docker' is not one of auto, bwrap"):
    resolve_mode("docker")


@pytest.mark.parametrize(
  ("program", "words"),
  [
    (None, "no bwrap on PATH"),
    ("echo 'bwrap: Unknown option --size' >&2; exit 1", "Unknown option"),
    ("exit 3", "exit code 3"),
  ],
)
def test_without_bwrap(monkeypatch, tmp_path, program, words):
  """No bwrap, an old one, one that the kernel refuses."""
  if program is not None:
    path = tmp_path / "bwrap"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    shutil.copy(shutil.which("true"), tmp_path / "true")
  monkeypatch.setenv("PATH", str(tmp_path))
  sandbox.bwrap_problem.cache_clear()
  try:
    assert resolve_mode("auto") == "rlimit"
    with pytest.raises(UsageError, match=words) as caught:
      resolve_mode("bwrap")
    assert "install bubblewrap 0.8" in str(caught.value)
  finally:
    sandbox.bwrap_problem.cache_clear()


def test_paths_of_python():
  paths = python_paths(("lark",))
  assert sys.executable in paths
  assert any(path.endswith("/site-packages/lark") for path in paths)
  assert not any(path.endswith(("/site-packages", "/bin")) for path in paths)
  with pytest.raises(UsageError, match="'no_such_package' is not installed"):
    python_paths(("no_such_package",))


# Limits.

LIMITS = """
import resource as r
for name in ("CPU", "AS", "FSIZE", "NOFILE", "CORE"):
  print(name, *r.getrlimit(getattr(r, "RLIMIT_" + name)))
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.mark.parametrize("mode", LIMITED)
def test_limits(mode):
  done = confined(mode, LIMITS, cpu_s=7.5, address_gib=0.5)
  assert done.stdout.split("\n")[:6] == [
    "CPU 8 13",
    f"AS {2**29} {2**29}",
    f"FSIZE {2**24} {2**24}",
    "NOFILE 1024 1024",
    "CORE 0 0",
    "1000",
  ], done.stderr


def test_none_limits_nothing():
  outside = subprocess.run(
    [*PYTHON, LIMITS], env=ENV, capture_output=True, text=True, check=True
  )
  inside = confined("none", LIMITS, cpu_s=7.5, address_gib=0.5)
  assert inside.stdout.split("\n")[:5] == outside.stdout.split("\n")[:5]


@pytest.mark.parametrize("mode", LIMITED)
def test_memory_bomb(mode):
  done = confined(mode, "b'x' * 2**30", address_gib=0.5)
  assert done.returncode == 1
  assert "MemoryError" in done.stderr


@pytest.mark.parametrize("mode", LIMITED)
def test_processor_limit(mode):
  """SIGXCPU, as such or as bwrap reports it; not SIGKILL."""
  done = confined(mode, "while True: pass", cpu_s=1.0)
  assert done.returncode in (-24, 128 + 24)


# Events that end it.


def assert_closed(pipe: int) -> None:
  """Fails if a process holds the pipe's other end for more than a moment."""
  try:
    assert select.select([pipe], [], [], 10.0)[0], "a process still runs"
    assert os.read(pipe, 1) == b""
  finally:
    os.close(pipe)


PARENT = """
import os, subprocess, sys
from kimina_jax.verification.process.sandbox import Sandbox, python_paths
mode, pipe, *command = sys.argv[1:]
env = {"PATH": os.environ["PATH"]}
box = Sandbox(mode, python_paths(()), 60.0, 4.0)
child = subprocess.Popen(
  box.wrap(command, env), stdout=subprocess.PIPE, pass_fds=(int(pipe),)
)
child.stdout.readline()
os.kill(os.getpid(), 9)
"""
CHILD = "import time; print(flush=True); time.sleep(60)"


@pytest.mark.parametrize("mode", MODES)
def test_ends_with_its_parent(mode):
  """SIGKILL of the parent leaves nothing behind."""
  # The pipe stays open as long as any process holds it.
  read, write = os.pipe()
  done = subprocess.run(
    [sys.executable, "-c", PARENT, mode, str(write), *PYTHON, CHILD],
    pass_fds=(write,),
  )
  os.close(write)
  assert done.returncode == -9
  assert_closed(read)


@needs_bwrap
def test_the_end_of_the_sandbox_ends_all_in_it():
  """Also processes in other sessions or without their parent."""
  program = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "  os.setsid()\n"
    "  if os.fork() == 0:\n"
    "    print(flush=True)\n"
    "    time.sleep(60)\n"
    "  os._exit(0)\n"
    "os.wait()\n"
    "time.sleep(60)\n"
  )
  read, write = os.pipe()
  box = Sandbox("bwrap", python_paths(()), 60.0, 4.0)
  process = subprocess.Popen(
    box.wrap([*PYTHON, program], ENV),
    env=ENV,
    stdout=subprocess.PIPE,
    pass_fds=(write,),
  )
  os.close(write)
  process.stdout.readline()
  process.kill()
  process.wait()
  process.stdout.close()
  assert_closed(read)


# What it reaches.

HERE = pathlib.Path(__file__).resolve()
PROBES = HERE.with_name("probes.py")
PROGRAMS = (
  *("sh", "bash", "dash", "ash", "zsh", "busybox", "env", "xargs", "script"),
  *("gcc", "cc", "g++", "c++", "cpp", "cc1", "collect2", "clang", "tcc", "as"),
  *("ld", "ld.bfd", "ld.gold", "lld", "rustc", "go", "make", "ptxas", "lean"),
  *("perl", "ruby", "node", "lua", "awk", "mawk", "gawk", "tclsh", "pip"),
  *("git", "curl", "wget", "ssh", "nc", "socat", "ls", "cat", "cp", "rm"),
  *("mount", "umount", "su", "sudo", "unshare", "nsenter", "bwrap", "gdb"),
)
VICTIM = """
import ctypes, time
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)  # be traced
print(flush=True)
time.sleep(600)
"""
SECRET = "kimina-secret"


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
  """Targets of the probes: servers, a process, files; as JSON."""
  folder = tmp_path_factory.mktemp("outside")
  canary = folder / "canary"
  canary.write_text("x")
  scratch = folder / "scratch"
  scratch.mkdir()
  victim = subprocess.Popen(
    [*PYTHON, VICTIM, "kimina-victim"], stdout=subprocess.PIPE
  )
  victim.stdout.readline()
  tcp, named, filed = (
    socket.create_server(("127.0.0.1", 0)),
    socket.socket(socket.AF_UNIX),
    socket.socket(socket.AF_UNIX),
  )
  name = f"kimina-{os.getpid()}"
  path = str(folder / "socket")
  named.bind(f"\0{name}")
  filed.bind(path)
  udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  udp.bind(("127.0.0.1", 0))
  udp.settimeout(10.0)
  for server in (named, filed):
    server.listen()
  yield {
    "tcp_port": tcp.getsockname()[1],
    "udp_port": udp.getsockname()[1],
    "socket_name": name,
    "socket_path": path,
    "victim": victim.pid,
    "victim_name": "kimina-victim",
    "secret": SECRET,
    "hidden": [str(canary), str(HERE), "/etc/passwd"],
    "folders": [str(folder)],
    "programs": PROGRAMS,
    "known": [],
    "roots": ["/usr/bin"],
    "scratch": str(scratch),
    "echo": udp,
  }
  for server in (tcp, named, filed, udp):
    server.close()
  victim.kill()
  victim.wait()
  victim.stdout.close()


def probe(argv: list[str], surroundings: dict) -> dict:
  """Runs the probes and answers their datagram."""
  given = {k: v for k, v in surroundings.items() if k != "echo"}
  process = subprocess.Popen(
    argv,
    env={**ENV, "KIMINA_SECRET": SECRET},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  udp = surroundings["echo"]
  udp.setblocking(False)
  process.stdin.write(json.dumps(given).encode())
  process.stdin.close()
  while process.poll() is None:
    try:
      data, address = udp.recvfrom(100)
    except BlockingIOError:
      time.sleep(0.01)
    else:
      udp.sendto(data, address)
  with process.stdout as output:
    return json.load(output)


@pytest.fixture(scope="module")
def outside(surroundings):
  return probe([sys.executable, "-I", "-S", str(PROBES)], surroundings)


@pytest.fixture(scope="module")
def inside(surroundings, tmp_path_factory):
  bound = tmp_path_factory.mktemp("bound")
  (bound / "file").write_text("x")
  paths = (*python_paths(()), str(PROBES), str(bound))
  box = Sandbox("bwrap", paths, 60.0, 4.0)
  argv = box.wrap([sys.executable, "-I", "-S", str(PROBES)], ENV)
  folders = ["/", "/dev", "/dev/shm", "/usr", "/etc", "/proc", "/proc/sys"]
  folders += [str(PROBES.parent), sys.prefix, os.path.expanduser("~")]
  # Paths to what is bound below /tmp lead through the sandbox's own /tmp.
  folders = [path for path in folders if not path.startswith("/tmp/")]
  folders += [str(bound), *surroundings["folders"]]
  libraries = sandbox._library_paths()
  changes = {
    "folders": [*folders, *libraries],
    "known": [*paths, *libraries, "/tmp/", "/dev/"],
    "roots": ["/"],
    "scratch": "/tmp",
  }
  return probe(argv, {**surroundings, **changes})


@needs_bwrap
@pytest.mark.parametrize(
  "name",
  [
    *("tcp", "udp", "abstract_socket", "socket_file"),
    *("signal_process", "trace_process", "open_memory_of_process"),
    *("fill_the_disk", "new_namespaces"),
  ],
)
def test_what_the_sandbox_refuses(inside, outside, name):
  assert outside[name] == "done"
  assert inside[name].endswith("Error")


@needs_bwrap
def test_only_root_may_mount_outside_and_nobody_inside(inside, outside):
  if os.getuid() == 0:
    assert outside["mount"] == "done"
  assert inside["mount"] == "PermissionError"


@needs_bwrap
@pytest.mark.parametrize("name", ["see_process", "see_environment"])
def test_what_the_sandbox_hides(inside, outside, name):
  assert outside[name] is True
  assert inside[name] is False


@needs_bwrap
def test_files_in_the_sandbox(inside, outside, surroundings):
  """Only the named paths are visible, read-only, and without programs."""
  assert outside["read_files"] == surroundings["hidden"]
  assert outside["write_files"] == surroundings["folders"]
  assert {"sh", "ls", "cat"} <= set(outside["find_programs"])
  assert outside["find_strangers"] > 10
  assert inside["read_files"] == inside["write_files"] == []
  assert inside["find_programs"] == []
  assert inside["find_strangers"] == 0


@needs_bwrap
def test_rights_in_the_sandbox(inside, outside):
  """No capabilities, no way to gain them; separate namespaces."""
  assert outside["capabilities"]["CapBnd"] != 0
  assert inside["capabilities"].pop("NoNewPrivs") == 1
  assert set(inside["capabilities"].values()) == {0}
  pairs = zip(inside["namespaces"], outside["namespaces"], strict=True)
  assert all(one != other for one, other in pairs)


@needs_bwrap
def test_names_in_the_sandbox(inside, outside):
  assert "KIMINA_SECRET" in outside["names"]
  assert inside["names"] == ["sandbox", "65534", "LANG", "PATH", "PWD"]


# The REPL in it.


@pytest.mark.parametrize("mode", MODES)
def test_a_session(mode):
  """The same replies in every mode; a fork bomb is killed."""
  fake = HERE.with_name("fake_repl.py")
  box = Sandbox(mode, (*python_paths(()), str(fake)), 60.0, 4.0)
  argv = box.wrap([sys.executable, "-I", "-S", str(fake)], ENV)
  repl = Repl(argv, env=ENV)
  try:
    assert repl.run_command("import Mathlib", timeout_s=10.0).env == 0
    reply = repl.run_command("#print axioms t", env=0, timeout_s=10.0)
    assert reply.messages[0].text == "'t' does not depend on any axioms"
    with pytest.raises(WorkerFailure, match="no reply in time"):
      repl.run_command("FAULT:bomb", env=1, timeout_s=2.0)
    family = memory.descendants(repl.pid)
    assert len(family) >= 200
  finally:
    repl.close()
  assert_all_end(family)


@needs_bwrap
@pytest.mark.parametrize(
  ("fault", "status"),
  [
    ("leave", Status.CRASH),
    ("segv", Status.CRASH),
    ("killed", Status.OUT_OF_MEMORY),
    ("memory", Status.OUT_OF_MEMORY),
    ("stubborn", Status.TIMEOUT),
    ("grandchild", Status.CRASH),
  ],
)
def test_faults_seen_through_bwrap(fault, status):
  """The exit status is right, though bwrap's first process reports it."""
  fake = HERE.with_name("fake_repl.py")
  box = Sandbox("bwrap", (*python_paths(()), str(fake)), 60.0, 4.0)
  argv = box.wrap([sys.executable, "-I", "-S", str(fake)], ENV)
  with contextlib.closing(Repl(argv, env=ENV)) as repl:
    assert repl.run_command("import Mathlib", timeout_s=10.0).env == 0
    with pytest.raises(WorkerFailure) as caught:
      repl.run_command(f"FAULT:{fault}", env=0, timeout_s=1.0)
  assert caught.value.status is status


@needs_bwrap
def test_minilean_in_the_sandbox():
  """It needs only its own sources and two packages."""
  package = pathlib.Path(kimina_jax.__file__).parent
  env = {**ENV, "PYTHONPATH": str(package.parent)}
  paths = (*python_paths(("lark", "z3")), str(package))
  box = Sandbox("bwrap", paths, 60.0, 8.0)
  module = "kimina_jax.minilean"
  argv = box.wrap([sys.executable, "-m", module], env)
  with contextlib.closing(Repl(argv, env=env)) as repl:
    reply = repl.run_command(
      "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by omega", timeout_s=60.0
    )
    assert reply.messages == ()
