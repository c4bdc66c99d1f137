"""What this process holds besides memory: processes and descriptors."""

import os
import pathlib


def held() -> tuple[set[str], set[str]]:
  """Children, zombies too, and open descriptors."""
  children = set()
  for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
    try:
      # The name in parentheses may hold anything, the parent comes after.
      parent = stat.read_text().rpartition(")")[2].split()[1]
    except (FileNotFoundError, ProcessLookupError):
      continue
    if parent == str(os.getpid()):
      children.add(stat.parent.name)
  return children, set(os.listdir("/proc/self/fd"))


def assert_no_more_than(before: tuple[set[str], set[str]]) -> None:
  """Fails if a child or a descriptor has come since."""
  children, descriptors = held()
  assert children <= before[0]
  assert descriptors <= before[1]
