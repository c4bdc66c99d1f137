"""Resources of processes: children, descriptors, anonymous memory."""

import os
import time
from collections.abc import Iterable

from kimina_jax.verification.process import memory


def held() -> tuple[set[str], set[str]]:
  """Children, zombies too, and open descriptors."""
  own = str(os.getpid()).encode()
  children = {n for n in processes() if _fields(n)[1:2] == [own]}
  return children, set(os.listdir("/proc/self/fd"))


def anonymous_bytes(pid: int) -> int:
  """Anonymous memory of a process and its descendants."""
  return memory.memory_usages((pid,))[pid].anonymous_bytes


def processes() -> list[str]:
  """The ids of all processes."""
  return [name for name in os.listdir("/proc") if name.isdigit()]


def assert_no_more_than(before: tuple[set[str], set[str]]) -> None:
  """Fails if a child or a descriptor has come since."""
  children, descriptors = held()
  assert children <= before[0]
  assert descriptors <= before[1]


def assert_all_end(pids: Iterable[int], *, timeout_s: float = 5.0) -> None:
  """Fails if one of these processes runs on; zombies of others do not."""
  deadline = time.monotonic() + timeout_s
  left = list(pids)
  while left := [pid for pid in left if _runs(pid)]:
    assert time.monotonic() < deadline, left
    time.sleep(0.01)


def _runs(pid: int) -> bool:
  state = _fields(str(pid))[:1]
  return bool(state) and state[0] not in (b"Z", b"X")


def _fields(pid: str) -> list[bytes]:
  """State, parent and so on; nothing if the process is gone."""
  try:
    with open(f"/proc/{pid}/stat", "rb") as stat:
      # The name in parentheses may hold anything, and be no text.
      return stat.read().rpartition(b")")[2].split()
  except (FileNotFoundError, ProcessLookupError):
    return []
