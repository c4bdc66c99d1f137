"""Limits itself, then becomes another program.

    python -I -S launch.py PARENT_PID CPU_S ADDRESS_BYTES FILE_BYTES -- COMMAND…

A process of its own, because limits set between fork and exec are unsafe in a
parent with threads. It dies with its parent, and so does what it becomes. It
imports nothing but the standard library and starts in milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_MAX_FILES = 1024


def main(arguments: list[str]) -> None:
  """Never returns: the process becomes the command."""
  numbers, command = arguments[:4], arguments[5:]
  parent_pid, cpu_s, address_bytes, file_bytes = map(int, numbers)
  prctl = ctypes.CDLL(None, use_errno=True).prctl
  if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "prctl")
  if os.getppid() != parent_pid:  # it died before the signal was asked for
    sys.exit(1)
  for limit, value in (
    (resource.RLIMIT_CPU, cpu_s),
    (resource.RLIMIT_AS, address_bytes),
    (resource.RLIMIT_FSIZE, file_bytes),
    (resource.RLIMIT_NOFILE, _MAX_FILES),
    (resource.RLIMIT_CORE, 0),
  ):
    _, ceiling = resource.getrlimit(limit)
    if ceiling != resource.RLIM_INFINITY:
      value = min(value, ceiling)
    resource.setrlimit(limit, (value, value))
  os.execvp(command[0], command)


if __name__ == "__main__":
  main(sys.argv[1:])
