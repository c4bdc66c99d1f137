"""Limits itself, then becomes another program.

    python -I -S launch.py PARENT_PID CGROUP ENV [LIMIT=NUMBER…] -- COMMAND…

In: whose death it shall not survive, the control group to join ("" for none),
whether to `keep` or to `clear` the environment, limits by their names in the
module `resource`. Out: the command, in this process. A process of its own,
because what is set between fork and exec is unsafe in a parent with threads.
It imports nothing but the standard library, starts in milliseconds and never
returns.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Between the signal that says "processor time is used up" and SIGKILL, which
# could not be told from lack of memory.
_CPU_GRACE_S = 5


def main(arguments: list[str]) -> None:
  """Never returns: the process becomes the command."""
  parent_pid, cgroup, env, *rest = arguments
  split = rest.index("--")
  limits, command = rest[:split], rest[split + 1 :]
  _die_with(int(parent_pid))
  if cgroup:
    with open(f"{cgroup}/cgroup.procs", "w") as members:
      members.write("0")  # the writer
  for limit in limits:
    name, _, number = limit.partition("=")
    _set_limit(name, int(number))
  _offer_oneself()
  # A process of a sandbox could read what its init was started with.
  kept = dict(os.environ) if env == "keep" else {}
  os.execvpe(command[0], command, kept)


def _die_with(parent_pid: int) -> None:
  """Asks for SIGKILL at the end of the thread that started this process."""
  prctl = ctypes.CDLL(None, use_errno=True).prctl
  if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "prctl")
  if os.getppid() != parent_pid:  # it died before the signal was asked for
    sys.exit(1)


def _set_limit(name: str, number: int) -> None:
  limit = getattr(resource, name)
  grace = _CPU_GRACE_S if name == "RLIMIT_CPU" else 0
  soft, hard = number, number + grace
  _, ceiling = resource.getrlimit(limit)
  if ceiling != resource.RLIM_INFINITY:
    soft, hard = min(soft, ceiling), min(hard, ceiling)
  resource.setrlimit(limit, (soft, hard))


def _offer_oneself() -> None:
  """If the machine runs out of memory, the kernel shall end this process."""
  try:
    with open("/proc/self/oom_score_adj", "w") as score:
      score.write("1000")
  except OSError:
    # A wish, not a limit: some machines show /proc read-only.
    pass


if __name__ == "__main__":
  main(sys.argv[1:])
