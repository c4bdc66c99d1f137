"""Memory of worker processes: measured with psutil, bounded by control groups.

In: process ids. Out: anonymous memory and number of processes of each with its
descendants; and, where the kernel lets this process make control groups (cgroup
v2), groups that bound memory and the number of tasks. It kills no process but
those in a group that it removes.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import secrets
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from typing import Self

import psutil

from kimina_jax.verification.process import launch

_PROC = pathlib.Path("/proc")
# Anonymous memory: private, shared with other processes, swapped out.
_ANONYMOUS_FIELDS = frozenset((b"RssAnon", b"RssShmem", b"VmSwap"))
_PREFIX = "kimina-checker"
_MAX_TASKS = 1024
_REMOVE_TIMEOUT_S = 5.0
_REMOVE_STEP_S = 0.005
_PROBE_BYTES = 2**28
_PROBE_TIMEOUT_S = 10.0


@dataclasses.dataclass(frozen=True)
class MemoryUsage:
  """Memory and number of processes of a process with all its descendants.

  Attributes:
    anonymous_bytes: memory that no file backs. Pages that processes share after
      a fork count once for each of them.
    num_processes: 0 once the process is gone.
  """

  anonymous_bytes: int
  num_processes: int


def memory_usages(pids: Collection[int]) -> dict[int, MemoryUsage]:
  """The usage of several processes, from one scan of the machine's processes.

  Processes may end during the scan; those that are gone count as nothing.

  Args:
    pids: of this process or of descendants of it.
  """
  children = _own_children() if pids else {}
  usages = {}
  for pid in pids:
    sizes = [_anonymous_bytes(member) for member in _family(pid, children)]
    present = [size for size in sizes if size is not None]
    usages[pid] = MemoryUsage(sum(present), len(present))
  return usages


def descendants(pid: int) -> list[int]:
  """The process ids of all descendants of a process, parents first."""
  try:
    return [p.pid for p in psutil.Process(pid).children(recursive=True)]
  except psutil.NoSuchProcess:
    return []


@functools.cache
def find_cgroup_root() -> pathlib.Path | None:
  """The control group in which this process can make groups for its workers.

  It is the own group of this process or the parent of that, if it delegates the
  controllers `memory` and `pids` and lets this process make groups and move its
  children there; None if neither does. Removes groups left by processes that
  are gone.
  """
  own = own_cgroup(
    _PROC.joinpath("self/cgroup").read_text(),
    _PROC.joinpath("self/mountinfo").read_text(),
  )
  for root in (own, own.parent) if own else ():
    if _delegates(root) and _works(root):
      _sweep(root)
      return root
  return None


def own_cgroup(cgroup: str, mountinfo: str) -> pathlib.Path | None:
  """The directory of this process's group; None without cgroup v2.

  Args:
    cgroup: content of /proc/self/cgroup.
    mountinfo: content of /proc/self/mountinfo.
  """
  groups = [line[3:] for line in cgroup.splitlines() if line[:3] == "0::"]
  for line in mountinfo.splitlines() if groups else ():
    before, _, after = line.partition(" - ")
    if after.split()[0] != "cgroup2":
      continue
    # A container may see only a part of the tree, below the root of the mount.
    root, mount = before.split()[3:5]
    inside = pathlib.PurePosixPath(groups[0])
    if inside.is_relative_to(root):
      return pathlib.Path(mount, inside.relative_to(root))
  return None


def make_control_group(limit_bytes: int) -> "ControlGroup | None":
  """A group that bounds memory; None where control groups cannot be made.

  Raises:
    OSError: as ControlGroup.create.
  """
  return ControlGroup.create(limit_bytes) if find_cgroup_root() else None


class ControlGroup:
  """Owns a control group, which a worker's process joins when it is launched.

  Attributes:
    path: its directory, for Sandbox.wrap.
  """

  @classmethod
  def create(
    cls, limit_bytes: int, *, root: pathlib.Path | None = None
  ) -> Self:
    """Makes a group.

    Args:
      limit_bytes: limit of memory, files in memory included; above it the
        kernel kills every process of the group.
      root: the group to make it in; find_cgroup_root() if None.

    Raises:
      OSError: the kernel does not allow it.
    """
    root = root or find_cgroup_root()
    if root is None:
      raise OSError("control groups cannot be made here")
    group = cls(root / f"{_PREFIX}-{os.getpid()}-{secrets.token_hex(4)}")
    group.path.mkdir()
    try:
      group._limit(limit_bytes)
    except OSError:
      group.path.rmdir()
      raise
    return group

  def __init__(self, path: pathlib.Path):
    """Wraps the directory of a group that create() has made."""
    self.path = path

  def num_oom_kills(self) -> int:
    """The number of its processes that the kernel has killed for memory."""
    events = self.path.joinpath("memory.events").read_text()
    counts = dict(line.split() for line in events.splitlines())
    return int(counts["oom_kill"])

  def remove(self) -> None:
    """Kills every process in the group and removes it.

    Raises:
      OSError: it cannot be removed.
    """
    kill = self.path / "cgroup.kill"
    if kill.exists():  # since Linux 5.14
      kill.write_text("1")
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while True:
      try:
        return self.path.rmdir()
      except OSError:  # busy while a process of the group is ending
        if time.monotonic() > deadline:
          raise
      time.sleep(_REMOVE_STEP_S)

  def _limit(self, limit_bytes: int) -> None:
    swap = self.path / "memory.swap.max"
    if swap.exists():  # absent in a kernel without swap
      swap.write_text("0")
    for name, value in (
      ("memory.max", limit_bytes),
      ("memory.oom.group", 1),
      ("pids.max", _MAX_TASKS),
    ):
      self.path.joinpath(name).write_text(str(value))


def _own_children() -> dict[int, list[int]]:
  """The children of this process and of each of its descendants."""
  children: dict[int, list[int]] = {}
  for process in psutil.Process().children(recursive=True):
    with contextlib.suppress(psutil.NoSuchProcess):
      children.setdefault(process.ppid(), []).append(process.pid)
  return children


def _family(pid: int, children: Mapping[int, list[int]]) -> list[int]:
  """The process ids of a process and its descendants, each once."""
  family = {pid: None}
  unseen = [pid]
  while unseen:
    born = [
      child
      for parent in unseen
      for child in children.get(parent, ())
      # Process ids are reused, so that one may seem its own ancestor.
      if child not in family
    ]
    family.update(dict.fromkeys(born))
    unseen = born
  return list(family)


def _anonymous_bytes(pid: int) -> int | None:
  """Anonymous memory of one process: 0 for a zombie, None if it is gone.

  psutil has no equal: its `rss - shared` leaves out shared and swapped memory,
  and its `uss` walks all mappings, which takes too long twice a second.
  """
  try:
    # As bytes: the name of a process need not be text.
    status = pathlib.Path(f"/proc/{pid}/status").read_bytes()
  except (FileNotFoundError, ProcessLookupError):
    return None
  lines = (line.partition(b":") for line in status.splitlines())
  return sum(
    int(value.split()[0]) * 1024
    for name, _, value in lines
    if name in _ANONYMOUS_FIELDS
  )


def _delegates(root: pathlib.Path) -> bool:
  """Whether groups inside this one can bound memory and tasks."""
  control = root / "cgroup.subtree_control"
  return control.exists() and {"memory", "pids"} <= set(
    control.read_text().split()
  )


def _works(root: pathlib.Path) -> bool:
  """Whether a child of this process can join a bounded group inside it."""
  try:
    group = ControlGroup.create(_PROBE_BYTES, root=root)
  except OSError:
    return False
  python = [sys.executable, "-I", "-S"]
  program = "print(open('/proc/self/cgroup').read())"
  try:
    done = subprocess.run(
      [
        *python,
        launch.__file__,
        str(os.getpid()),
        str(group.path),
        "keep",
        "--",
        *python,
        "-c",
        program,
      ],
      capture_output=True,
      text=True,
      timeout=_PROBE_TIMEOUT_S,
    )
  except subprocess.TimeoutExpired:
    return False
  finally:
    group.remove()
  return done.returncode == 0 and group.path.name in done.stdout


def _sweep(root: pathlib.Path) -> None:
  """Removes empty groups of processes that are gone."""
  for path in root.glob(f"{_PREFIX}-*-*"):
    pid = path.name.removeprefix(_PREFIX).split("-")[1]
    if not _PROC.joinpath(pid).exists():
      try:
        path.rmdir()
      except OSError:
        # Not empty, or another process has removed it.
        continue
