"""Memory usage of processes, and control groups that bound it."""

import contextlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import time

import pytest
from leaks import anonymous_bytes

from kimina_jax.types import Status
from kimina_jax.verification.process import memory
from kimina_jax.verification.process.protocol import WorkerFailure
from kimina_jax.verification.process.repl import Repl
from kimina_jax.verification.process.sandbox import (
  Sandbox,
  python_paths,
  resolve_mode,
)

MIB = 2**20
# Holds memory of several kinds, as does its child, and reports when ready.
HOLDER = """
import mmap, os, sys, time
private_mib, shared_mib, num_files, child_mib = map(int, sys.argv[1:5])
def fill(size_mib, **options):
  block = mmap.mmap(-1, max(size_mib, 1) << 20, **options)
  for page in range(0, size_mib << 20, mmap.PAGESIZE):
    block[page] = 1
  return block
blocks = []
if (child := os.fork()) == 0:
  blocks = [fill(child_mib, flags=mmap.MAP_PRIVATE)]
else:
  blocks = [
    fill(private_mib, flags=mmap.MAP_PRIVATE),
    fill(shared_mib, flags=mmap.MAP_SHARED),
  ]
  if num_files:
    with open(sys.argv[5], "rb") as file:
      blocks.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
      sum(blocks[-1][::mmap.PAGESIZE])
print(os.getpid(), flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def holder(*sizes_mib: int, path: pathlib.Path = pathlib.Path()):
  """A process with its child; yields both numbers."""
  argv = [sys.executable, "-I", "-S", "-c", HOLDER]
  process = subprocess.Popen(
    [*argv, *map(str, sizes_mib), str(path)],
    stdout=subprocess.PIPE,
    start_new_session=True,
  )
  try:
    pids = {int(process.stdout.readline()) for _ in range(2)}
    assert process.pid in pids
    yield process.pid, (pids - {process.pid}).pop()
  finally:
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def rolled_up(pid: int, *names: str) -> int:
  """As the kernel adds up the process's mappings, one by one."""
  text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
  fields = dict(line.split(":") for line in text.splitlines()[1:])
  return sum(int(fields[name].split()[0]) * 1024 for name in names)


def test_anonymous_memory_of_a_family():
  """Mapped files do not count, the memory of descendants does."""
  (folder,) = importlib.util.find_spec("z3").submodule_search_locations
  library = max(pathlib.Path(folder, "lib").iterdir(), key=file_size)
  assert file_size(library) > 16 * MIB
  with holder(32, 0, 1, 16, path=library) as (parent, child):
    assert rolled_up(parent, "Rss") > 32 * MIB + file_size(library)
    found = anonymous_bytes(parent)
    expected = rolled_up(parent, "Anonymous") + rolled_up(child, "Anonymous")
    assert abs(found - expected) < MIB
    assert 48 * MIB < found < 64 * MIB
    assert 16 * MIB < anonymous_bytes(child) < 24 * MIB
    assert memory.memory_usages((parent, child)) == {
      parent: memory.MemoryUsage(found, 2),
      child: memory.MemoryUsage(anonymous_bytes(child), 1),
    }
    assert memory.descendants(parent) == [child]
    assert memory.descendants(child) == []


def file_size(path: pathlib.Path) -> int:
  return path.stat().st_size


def test_shared_memory_counts():
  """Memory that processes share has no file behind it either."""
  with holder(0, 32, 0, 0) as (parent, _):
    assert 32 * MIB < anonymous_bytes(parent) < 48 * MIB


def test_what_is_gone_holds_nothing():
  process = subprocess.Popen(["true"])
  process_id = process.pid
  os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
  # A zombie still has an id, and no memory.
  assert memory.memory_usages([process_id]) == {
    process_id: memory.MemoryUsage(0, 1)
  }
  process.wait()
  assert memory.memory_usages([process_id]) == {
    process_id: memory.MemoryUsage(0, 0)
  }
  assert memory.memory_usages([]) == {}


def test_processes_that_come_and_go():
  """Processes that start and end during the scan cause no error."""
  program = (
    "import os\n"
    "while True:\n"
    "  if os.fork() == 0:\n"
    "    os._exit(0)\n"
    "  os.wait()\n"
  )
  churn = subprocess.Popen([sys.executable, "-I", "-S", "-c", program])
  try:
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
      usage = memory.memory_usages([churn.pid])[churn.pid]
      assert 1 <= usage.num_processes <= 3
  finally:
    churn.kill()
    churn.wait()


@pytest.mark.parametrize("name", [b"a) R 1 (b", b"\xff\xfe", b") ", b"\n0 0"])
def test_a_name_of_any_bytes(name):
  """The name of a process may hold any bytes."""
  program = (
    "import ctypes, os, time\n"
    f"ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)\n"
    "if os.fork() == 0:\n"
    "  print(os.getpid(), flush=True)\n"
    "time.sleep(60)\n"
  )
  process = subprocess.Popen(
    [sys.executable, "-I", "-S", "-c", program],
    stdout=subprocess.PIPE,
    start_new_session=True,
  )
  try:
    child = int(process.stdout.readline())
    assert memory.descendants(process.pid) == [child]
    assert anonymous_bytes(child) > MIB
  finally:
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def test_reused_ids_form_no_circle():
  """With ids reused during a scan, a process may seem its own ancestor."""
  children = {1: [2, 3], 2: [4], 4: [1, 2], 3: [3]}
  assert memory._family(1, children) == [1, 2, 3, 4]


# Control groups.

MOUNTS = (
  "22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw\n"
  "30 22 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
  "31 22 0:27 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
)


@pytest.mark.parametrize(
  ("cgroup", "root", "mount", "found"),
  [
    ("0::/user.slice/a.scope\n", "/", "/sys/fs/cgroup", "user.slice/a.scope"),
    ("0::/\n", "/", "/sys/fs/cgroup", ""),
    ("4:memory:/x\n0::/a\n", "/", "/sys/fs/cgroup/unified", "a"),
    ("0::/docker/1/a\n", "/docker/1", "/sys/fs/cgroup", "a"),
  ],
)
def test_own_group(cgroup, root, mount, found):
  mounts = MOUNTS.format(root=root, mount=mount)
  assert memory.own_cgroup(cgroup, mounts) == pathlib.Path(mount, found)


@pytest.mark.parametrize(
  ("cgroup", "mounts"),
  [
    ("4:memory:/x\n", MOUNTS.format(root="/", mount="/sys/fs/cgroup")),
    ("0::/a\n", MOUNTS.splitlines()[0]),
    ("0::/a\n", MOUNTS.format(root="/docker/1", mount="/sys/fs/cgroup")),
    ("", ""),
  ],
)
def test_no_own_group(cgroup, mounts):
  assert memory.own_cgroup(cgroup, mounts) is None


def test_what_a_group_writes(tmp_path):
  """Plain files stand for the kernel's: their names and contents."""
  group = memory.ControlGroup.create(5 * MIB, root=tmp_path)
  assert group.path.parent == tmp_path
  assert {p.name: p.read_text() for p in group.path.iterdir()} == {
    "memory.max": str(5 * MIB),
    "memory.oom.group": "1",
    "pids.max": "1024",
  }
  events = group.path / "memory.events"
  events.write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
  assert group.num_oom_kills() == 2
  assert memory.ControlGroup.create(MIB, root=tmp_path).path != group.path


def test_a_command_joins_the_group_that_it_is_given(tmp_path):
  argv = Sandbox("none", (), 1.0, 1.0).wrap(["true"], {}, cgroup=str(tmp_path))
  subprocess.run(argv, check=True)
  # In a control group, 0 stands for the process that writes it.
  assert (tmp_path / "cgroup.procs").read_text() == "0"
  argv = Sandbox("none", (), 1.0, 1.0).wrap(
    ["true"], {}, cgroup=str(tmp_path / "none")
  )
  done = subprocess.run(argv, capture_output=True)
  assert done.returncode == 1
  assert b"FileNotFoundError" in done.stderr


def test_a_group_that_cannot_be_made(monkeypatch, tmp_path):
  monkeypatch.setattr(memory, "find_cgroup_root", lambda: None)
  with pytest.raises(OSError, match="cannot be made here"):
    memory.ControlGroup.create(MIB)
  with pytest.raises(FileNotFoundError):
    memory.ControlGroup.create(MIB, root=tmp_path / "none")


@pytest.fixture
def root():
  root = memory.find_cgroup_root()
  if root is None:
    pytest.skip("control groups (v2) with memory cannot be made here")
  return root


BOMB = "import os; os.write(1, b'x'); block = b'x' * 2**28; os.write(1, b'y')"


def test_a_real_group_ends_what_takes_too_much(root):
  group = memory.ControlGroup.create(64 * MIB)
  try:
    argv = Sandbox("rlimit", (), 10.0, 8.0).wrap(
      [sys.executable, "-I", "-S", "-c", BOMB], {}, cgroup=str(group.path)
    )
    done = subprocess.run(argv, capture_output=True)
    assert (done.returncode, done.stdout) == (-9, b"x")
    assert group.num_oom_kills() >= 1
  finally:
    group.remove()
  assert not group.path.exists()


@pytest.mark.parametrize("mode", ["rlimit", resolve_mode("auto")])
def test_a_real_group_ends_a_repl(root, mode):
  """In every isolation; the control group counts the kill."""
  group = memory.ControlGroup.create(200 * MIB)
  fake = pathlib.Path(__file__).with_name("fake_repl.py")
  env = {"PATH": os.environ["PATH"]}
  argv = Sandbox(mode, (*python_paths(()), str(fake)), 60.0, 8.0).wrap(
    [sys.executable, "-I", "-S", str(fake)], env, cgroup=str(group.path)
  )
  repl = Repl(argv, env=env)
  try:
    assert repl.run_command("import Mathlib", timeout_s=10.0).env == 0
    assert group.num_oom_kills() == 0
    with pytest.raises(WorkerFailure) as caught:
      repl.run_command("FAULT:grow", env=0, timeout_s=60.0)
    assert caught.value.status is Status.OUT_OF_MEMORY
    assert group.num_oom_kills() >= 1
  finally:
    repl.close()
    group.remove()


def test_a_real_group_takes_its_processes_along(root):
  group = memory.ControlGroup.create(64 * MIB)
  argv = Sandbox("none", (), 1.0, 1.0).wrap(
    ["sleep", "60"], {"PATH": os.environ["PATH"]}, cgroup=str(group.path)
  )
  process = subprocess.Popen(argv)
  deadline = time.monotonic() + 5.0
  while not group.path.joinpath("cgroup.procs").read_text():
    assert time.monotonic() < deadline
  group.remove()
  assert process.wait() == -9
