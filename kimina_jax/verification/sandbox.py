"""Isolation of the checker: a command in, a command that is confined out.

`bwrap` gives the process its own namespaces without network, a read-only view
of the named paths and nothing else, and an empty /tmp, on top of `rlimit`:
limits on processor time, address space and file size. Both end the process
when its parent ends. `none` confines nothing and must be asked for.

It builds command lines and starts nothing but one probe.
"""

import dataclasses
import functools
import math
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from kimina_jax.types import UsageError
from kimina_jax.verification import launch

MODES = ("auto", "bwrap", "rlimit", "none")

_SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_FILE_BYTES = 16 * 2**20
_TMP_BYTES = 64 * 2**20
_PROBE_TIMEOUT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Sandbox:
  """How to confine a command.

  Attributes:
    mode: the isolation in force: `bwrap`, `rlimit` or `none`.
    paths: what `bwrap` lets it read, besides the system's libraries.
    cpu_s: processor seconds of the process's whole life.
    memory_gib: address space.
  """

  mode: str
  paths: tuple[str, ...]
  cpu_s: float
  memory_gib: float

  def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The confined command; the process that starts it is its parent.

    Args:
      argv: the command.
      env: the whole environment that it shall see.
    """
    if self.mode == "none":
      return list(argv)
    if self.mode == "bwrap":
      argv = [*_bwrap(self.paths, env), *argv]
    limits = (
      os.getpid(),
      math.ceil(self.cpu_s),
      int(self.memory_gib * 2**30),
      _FILE_BYTES,
    )
    # -S and -I: the launcher needs no site packages and trusts no variable.
    python = [sys.executable, "-I", "-S", launch.__file__]
    return [*python, *map(str, limits), "--", *argv]


def resolve_mode(isolation: str) -> str:
  """The strongest mode at hand for `auto`, else the mode asked for.

  Raises:
    UsageError: no such mode, or `bwrap` does not work here.
  """
  if isolation not in MODES:
    raise UsageError(f"isolation {isolation!r} is none of {', '.join(MODES)}")
  if isolation == "auto":
    return "rlimit" if _bwrap_problem() else "bwrap"
  if isolation == "bwrap" and _bwrap_problem():
    raise UsageError(
      f"isolation 'bwrap' does not work here ({_bwrap_problem()}); install "
      "bubblewrap and allow unprivileged user namespaces, or set isolation "
      "to 'auto' or 'rlimit'"
    )
  return isolation


@functools.cache
def _bwrap_problem() -> str:
  """Why bwrap cannot be used; "" if it works."""
  if shutil.which("bwrap") is None:
    return "no bwrap on PATH"
  try:
    probe = subprocess.run(
      [*_bwrap((), {}), shutil.which("true") or "/usr/bin/true"],
      stdin=subprocess.DEVNULL,
      capture_output=True,
      timeout=_PROBE_TIMEOUT_S,
    )
  except (OSError, subprocess.TimeoutExpired) as error:
    return str(error)
  if probe.returncode == 0:
    return ""
  words = probe.stderr.decode(errors="replace").strip()
  return words or f"exit code {probe.returncode}"


def _bwrap(paths: Sequence[str], env: Mapping[str, str]) -> list[str]:
  argv = [
    *("bwrap", "--unshare-all", "--die-with-parent", "--new-session"),
    *("--cap-drop", "ALL", "--clearenv", "--proc", "/proc", "--dev", "/dev"),
    *("--size", str(_TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),
  ]
  for name, value in env.items():
    argv += ["--setenv", name, value]
  for path in (*_SYSTEM_PATHS, *paths):
    absolute = str(pathlib.Path(path).absolute())
    argv += ["--ro-bind-try", absolute, absolute]
  return [*argv, "--"]
