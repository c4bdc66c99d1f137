"""What a confined process can reach."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from kimina_jax.types import UsageError
from kimina_jax.verification import sandbox
from kimina_jax.verification.sandbox import Sandbox, resolve_mode

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
PYTHON = (sys.executable, "-I", "-S", "-c")

needs_bwrap = pytest.mark.skipif(
  shutil.which("bwrap") is None or resolve_mode("auto") != "bwrap",
  reason="bwrap does not work here",
)


def confined(
  mode: str, program: str, *, cpu_s: float = 10.0, memory_gib: float = 1.0
) -> subprocess.CompletedProcess:
  paths = (sys.prefix, sys.base_prefix)
  box = Sandbox(mode, paths, cpu_s, memory_gib)
  return subprocess.run(
    box.wrap([*PYTHON, program], ENV), env=ENV, capture_output=True, text=True
  )


def test_modes():
  assert resolve_mode("none") == "none"
  assert resolve_mode("rlimit") == "rlimit"
  assert resolve_mode("auto") in ("bwrap", "rlimit")
  with pytest.raises(UsageError, match="'docker' is none of auto, bwrap"):
    resolve_mode("docker")


def test_without_bwrap(monkeypatch):
  monkeypatch.setattr(shutil, "which", lambda name: None)
  sandbox._bwrap_problem.cache_clear()
  try:
    assert resolve_mode("auto") == "rlimit"
    with pytest.raises(UsageError, match="no bwrap on PATH"):
      resolve_mode("bwrap")
  finally:
    sandbox._bwrap_problem.cache_clear()


def test_none_changes_nothing():
  assert Sandbox("none", (), 1.0, 1.0).wrap(["a", "b"], ENV) == ["a", "b"]


MODES = ["rlimit", pytest.param("bwrap", marks=needs_bwrap)]
LIMITS = """
import resource as r
for name in ("CPU", "AS", "FSIZE", "NOFILE", "CORE"):
  print(name, *r.getrlimit(getattr(r, "RLIMIT_" + name)))
"""


@pytest.mark.parametrize("mode", MODES)
def test_limits(mode):
  done = confined(mode, LIMITS, cpu_s=7.5, memory_gib=0.5)
  assert done.stdout.split("\n")[:5] == [
    "CPU 8 8",
    f"AS {2**29} {2**29}",
    f"FSIZE {2**24} {2**24}",
    "NOFILE 1024 1024",
    "CORE 0 0",
  ], done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_memory_bomb(mode):
  done = confined(mode, "b'x' * 2**30", memory_gib=0.5)
  assert done.returncode == 1
  assert "MemoryError" in done.stderr


def test_processor_limit():
  done = confined("rlimit", "while True: pass", cpu_s=1.0)
  assert done.returncode < 0


PARENT = """
import os, subprocess, sys
from kimina_jax.verification.sandbox import Sandbox
mode, pipe, *command = sys.argv[1:]
env = {"PATH": os.environ["PATH"]}
box = Sandbox(mode, (sys.prefix, sys.base_prefix), 60.0, 1.0)
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
  with os.fdopen(read, "rb") as pipe:
    assert pipe.read() == b""


REACH = """
import os, socket
def tried(action):
  try:
    action()
  except OSError as error:
    return type(error).__name__
  return "done"
print(len([p for p in os.listdir("/proc") if p.isdigit()]) < 4)
print(sorted(os.environ))
print(tried(lambda: socket.create_connection(("1.1.1.1", 53), timeout=1)))
print(tried(lambda: open("/usr/x", "w")))
print(tried(lambda: open("/tmp/x", "w").close()))
print(os.path.exists("/etc/passwd"), os.path.exists({HERE}))
"""


@needs_bwrap
def test_bwrap_hides_the_machine():
  """Few processes, few variables, no network, no files, no writes."""
  here = str(pathlib.Path(__file__))
  done = confined("bwrap", REACH.replace("{HERE}", repr(here)))
  assert done.stdout.strip().split("\n") == [
    "True",
    "['LANG', 'PATH', 'PWD']",
    "OSError",
    "OSError",
    "done",
    "False False",
  ], done.stderr
