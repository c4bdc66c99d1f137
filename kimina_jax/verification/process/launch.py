"""Launcher: sets limits on its own process, then executes a command in it.

    python -I -S launch.py PARENT_PID CGROUP ENV [LIMIT=NUMBER…] -- COMMAND…

In: the process with whose death this one must end, the control group to join
("" for none), whether to `keep` or `clear` the environment, and limits by their
names in the module `resource`. Out: the command, which replaces this program.
The limits are set here because setting them between fork and exec is unsafe in
a parent with threads. It imports the standard library alone and starts in
milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Processor time between SIGXCPU, which reports that the limit is reached, and
# SIGKILL, which would look like a lack of memory.
_CPU_GRACE_S = 5


def main(arguments: list[str]) -> None:
  """Executes the command; does not return."""
  parent_pid, cgroup, env, *rest = arguments
  split = rest.index("--")
  limits, command = rest[:split], rest[split + 1 :]
  _end_with_parent(int(parent_pid))
  if cgroup:
    with open(f"{cgroup}/cgroup.procs", "w") as members:
      members.write("0")  # the writer
  for limit in limits:
    name, _, number = limit.partition("=")
    _set_limit(name, int(number))
  _prefer_as_oom_victim()
  # Inside a sandbox, a process can read the environment that the sandbox's
  # first process was started with.
  kept = dict(os.environ) if env == "keep" else {}
  os.execvpe(command[0], command, kept)


def _end_with_parent(parent_pid: int) -> None:
  """Has the kernel send SIGKILL when the thread that started this one ends."""
  prctl = ctypes.CDLL(None, use_errno=True).prctl
  if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "prctl")
  if os.getppid() != parent_pid:  # it ended before the call of prctl
    sys.exit(1)


def _set_limit(name: str, number: int) -> None:
  limit = getattr(resource, name)
  grace = _CPU_GRACE_S if name == "RLIMIT_CPU" else 0
  soft, hard = number, number + grace
  _, ceiling = resource.getrlimit(limit)
  if ceiling != resource.RLIM_INFINITY:
    soft, hard = min(soft, ceiling), min(hard, ceiling)
  resource.setrlimit(limit, (soft, hard))


def _prefer_as_oom_victim() -> None:
  """Has the kernel kill this process first if the machine is out of memory."""
  try:
    with open("/proc/self/oom_score_adj", "w") as score:
      score.write("1000")
  except OSError:
    # Not a limit, so it may fail: some machines mount /proc read-only.
    pass


if __name__ == "__main__":
  main(sys.argv[1:])
