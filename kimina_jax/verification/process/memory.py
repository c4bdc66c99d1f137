"""Memory of the checkers: how much they hold, and how to bound it.

In: process numbers. Out: bytes and counts that /proc tells; and, where the
kernel lets this process make control groups (cgroup v2), groups that bound
memory and number of tasks. It never ends a process but those in a group that
it removes.
"""

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

from kimina_jax.verification.process import launch

_PROC = pathlib.Path("/proc")
# What no file backs: of one process, shared with others, swapped out.
_FIELDS = frozenset((b"RssAnon", b"RssShmem", b"VmSwap"))
_PREFIX = "kimina-checker"
_MAX_TASKS = 1024
_REMOVE_TIMEOUT_S = 5.0
_REMOVE_STEP_S = 0.005
_PROBE_BYTES = 2**28
_PROBE_TIMEOUT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Usage:
  """What a process and all its descendants hold.

  Attributes:
    anonymous_bytes: memory that no file backs. Pages that a fork shares count
      once for each process.
    num_processes: how many they are; 0 once the process is gone.
  """

  anonymous_bytes: int
  num_processes: int


def anonymous_bytes(pid: int) -> int:
  """Memory without a file behind it, of a process and its descendants."""
  return usages((pid,))[pid].anonymous_bytes


def usages(pids: Collection[int]) -> dict[int, Usage]:
  """As of one look at the machine: asking for many costs little more than one.

  Processes come and go meanwhile; what is gone counts as nothing.
  """
  children = _children()
  found = {}
  for pid in pids:
    sizes = [_anonymous_bytes(member) for member in _family(pid, children)]
    present = [size for size in sizes if size is not None]
    found[pid] = Usage(sum(present), len(present))
  return found


def descendants(pid: int) -> list[int]:
  """Children, their children and so on, parents first."""
  return _family(pid, _children())[1:]


@functools.cache
def usable_root() -> pathlib.Path | None:
  """The control group below which this process may bound its checkers.

  Its own group or the one above, if that hands `memory` and `pids` on and lets
  this process make groups and move its children there; None if neither does.
  Removes what an earlier process could not.
  """
  own = own_group(
    _PROC.joinpath("self/cgroup").read_text(),
    _PROC.joinpath("self/mountinfo").read_text(),
  )
  for root in (own, own.parent) if own else ():
    if _hands_on(root) and _works(root):
      _sweep(root)
      return root
  return None


def own_group(cgroup: str, mountinfo: str) -> pathlib.Path | None:
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
    # A container may see a part of the tree only, whose root the mount names.
    root, mount = before.split()[3:5]
    inside = pathlib.PurePosixPath(groups[0])
    if inside.is_relative_to(root):
      return pathlib.Path(mount, inside.relative_to(root))
  return None


def make_group(limit_bytes: int) -> "Group | None":
  """A group that bounds memory; None where control groups cannot be made.

  Raises:
    OSError: as Group.create.
  """
  return Group.create(limit_bytes) if usable_root() else None


class Group:
  """Owns a control group; a process joins it before it becomes the checker.

  Attributes:
    path: its directory, for Sandbox.wrap.
  """

  @classmethod
  def create(
    cls, limit_bytes: int, *, root: pathlib.Path | None = None
  ) -> Self:
    """Makes a group.

    Args:
      limit_bytes: of memory, files in memory included; beyond, the kernel
        ends every process of the group.
      root: the group to make it in; usable_root() if None.

    Raises:
      OSError: the kernel does not let us.
    """
    root = root or usable_root()
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
    """Takes over a group that create() has made."""
    self.path = path

  def num_oom_kills(self) -> int:
    """How many of its processes the kernel has ended for lack of memory."""
    events = self.path.joinpath("memory.events").read_text()
    counts = dict(line.split() for line in events.splitlines())
    return int(counts["oom_kill"])

  def remove(self) -> None:
    """Ends every process in it and removes it.

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
      except OSError:  # busy as long as a process of it is ending
        if time.monotonic() > deadline:
          raise
      time.sleep(_REMOVE_STEP_S)

  def _limit(self, limit_bytes: int) -> None:
    swap = self.path / "memory.swap.max"
    if swap.exists():  # not in a kernel without swap
      swap.write_text("0")
    for name, value in (
      ("memory.max", limit_bytes),
      ("memory.oom.group", 1),
      ("pids.max", _MAX_TASKS),
    ):
      self.path.joinpath(name).write_text(str(value))


def _children() -> dict[int, list[int]]:
  """Of every process on the machine."""
  children: dict[int, list[int]] = {}
  for name in os.listdir(_PROC):
    if name.isdigit() and (stat := _read(f"/proc/{name}/stat")):
      # The name in parentheses may hold anything, the parent comes after.
      parent = int(stat.rpartition(b")")[2].split(None, 2)[1])
      children.setdefault(parent, []).append(int(name))
  return children


def _family(pid: int, children: Mapping[int, list[int]]) -> list[int]:
  """The process and its descendants, each once."""
  family = {pid: None}
  unseen = [pid]
  while unseen:
    born = [
      child
      for parent in unseen
      for child in children.get(parent, ())
      # Numbers are given anew, so that one may seem its own ancestor.
      if child not in family
    ]
    family.update(dict.fromkeys(born))
    unseen = born
  return list(family)


def _anonymous_bytes(pid: int) -> int | None:
  """Of one process: 0 if it has ended and is to be reaped, None if gone."""
  status = _read(f"/proc/{pid}/status")
  if not status:
    return None
  lines = (line.partition(b":") for line in status.splitlines())
  return sum(
    int(value.split()[0]) * 1024 for name, _, value in lines if name in _FIELDS
  )


def _read(path: str) -> bytes:
  """A file about a process; nothing if the process is gone.

  As bytes: a process may give itself a name that is no text.
  """
  try:
    with open(path, "rb", buffering=0) as file:
      return file.read()
  except (FileNotFoundError, ProcessLookupError):
    return b""


def _hands_on(root: pathlib.Path) -> bool:
  """Whether groups made in this one can bound memory and tasks."""
  control = root / "cgroup.subtree_control"
  return control.exists() and {"memory", "pids"} <= set(
    control.read_text().split()
  )


def _works(root: pathlib.Path) -> bool:
  """Whether a child of this process can be put into a bounded group there."""
  try:
    group = Group.create(_PROBE_BYTES, root=root)
  except OSError:
    return False
  python = [sys.executable, "-I", "-S"]
  program = "print(open('/proc/self/cgroup').read())"
  try:
    done = subprocess.run(
      [
        *(*python, launch.__file__, str(os.getpid()), str(group.path)),
        *("keep", "--", *python, "-c", program),
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
        # Not empty, or another process has removed it: none of our business.
        continue
