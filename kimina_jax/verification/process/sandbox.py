"""Isolation of the checker: a command in, a command that is confined out.

`bwrap` gives the process its own namespaces without network and without other
processes, and a file system of the named paths and the system's shared
libraries, all read-only, with an empty /tmp of bounded size: no shell, no
compiler, no command but its own. On top come the limits of `rlimit`: on
processor time, address space, file size and descriptors. `none` confines
nothing and must be asked for. All three end with the process that starts
them.

What no mode limits is the number of processes: RLIMIT_NPROC counts every
thread of the user on the machine, also those outside (a user namespace keeps
the ceiling it was made under), and does not bind root. memory.py counts them,
and a control group bounds them.

It builds command lines and starts nothing but one probe.
"""

import dataclasses
import functools
import importlib.util
import math
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence

from kimina_jax.types import UsageError
from kimina_jax.verification.process import launch
from kimina_jax.verification.settings import ISOLATION_CHOICES

_FILE_BYTES = 16 * 2**20
_TMP_BYTES = 64 * 2**20
_NUM_FILES = 1024
_NOBODY = "65534"
_PROBE_TIMEOUT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Sandbox:
  """How to confine a command.

  Attributes:
    mode: the isolation in force: `bwrap`, `rlimit` or `none`.
    paths: all that `bwrap` lets it read, besides the system's libraries.
    cpu_s: processor seconds of the process's whole life.
    address_gib: address space. An outer bound: mapped files count, so memory
      proper is limited elsewhere (see memory.py).
  """

  mode: str
  paths: tuple[str, ...]
  cpu_s: float
  address_gib: float

  def wrap(
    self, argv: Sequence[str], env: Mapping[str, str], *, cgroup: str = ""
  ) -> list[str]:
    """The confined command.

    It ends with the thread that starts it, which must therefore outlive it.

    Args:
      argv: the command.
      env: the whole environment that it shall see.
      cgroup: directory of the control group that it joins; "" for none.
    """
    # -S and -I: the launcher needs no site packages and trusts no variable.
    python = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
    if self.mode == "none":
      return [*python, cgroup, "keep", "--", *argv]
    if self.mode == "rlimit":
      return [*python, cgroup, "keep", *self._limits(), "--", *argv]
    bwrap = _bwrap(self.paths, env)
    return [*python, cgroup, "clear", *self._limits(), "--", *bwrap, *argv]

  def _limits(self) -> list[str]:
    numbers = {
      "RLIMIT_CPU": math.ceil(self.cpu_s),
      "RLIMIT_AS": int(self.address_gib * 2**30),
      "RLIMIT_FSIZE": _FILE_BYTES,
      "RLIMIT_NOFILE": _NUM_FILES,
      "RLIMIT_CORE": 0,
    }
    return [f"{name}={number}" for name, number in numbers.items()]


def resolve_mode(isolation: str) -> str:
  """The strongest mode at hand for `auto`, else the mode asked for.

  Raises:
    UsageError: no such mode, or `bwrap` does not work here.
  """
  if isolation not in ISOLATION_CHOICES:
    raise UsageError(
      f"isolation {isolation!r} is none of {', '.join(ISOLATION_CHOICES)}"
    )
  if isolation == "auto":
    return "rlimit" if bwrap_problem() else "bwrap"
  if isolation == "bwrap" and bwrap_problem():
    raise UsageError(
      f"isolation 'bwrap' does not work here ({bwrap_problem()}); install "
      "bubblewrap 0.8 or later and allow unprivileged user namespaces, or "
      "set isolation to 'auto' or 'rlimit'"
    )
  return isolation


def python_paths(packages: Sequence[str]) -> tuple[str, ...]:
  """All that this interpreter must be able to read, to run in a sandbox.

  Args:
    packages: top-level packages that it shall find besides the standard
      library.

  Raises:
    UsageError: a package is not installed.
  """
  # The name it is started by, and the file behind it.
  paths = [sys.executable, os.path.realpath(sys.executable)]
  # Within a virtual environment, this file names the interpreter's home.
  paths += filter(os.path.exists, [f"{sys.prefix}/pyvenv.cfg"])
  if sys.base_prefix == "/usr":  # whose lib holds compilers, too
    paths += [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
  else:
    paths.append(f"{sys.base_prefix}/lib")
  for name in packages:
    spec = importlib.util.find_spec(name)
    if spec is None:
      raise UsageError(f"package {name!r} is not installed; install it")
    paths += spec.submodule_search_locations or [spec.origin]
  return tuple(dict.fromkeys(paths))


@functools.cache
def bwrap_problem() -> str:
  """Why bwrap cannot be used; "" if it works."""
  program = shutil.which("true")
  if shutil.which("bwrap") is None or program is None:
    return "no bwrap on PATH"
  try:
    probe = subprocess.run(
      [*_bwrap((program,), {}), program],
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
    *(shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user"),
    *("--disable-userns", "--uid", _NOBODY, "--gid", _NOBODY),
    *("--die-with-parent", "--new-session", "--hostname", "sandbox"),
    *("--cap-drop", "ALL", "--clearenv", "--proc", "/proc", "--dev", "/dev"),
    *("--size", str(_TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),
  ]
  for name, value in env.items():
    argv += ["--setenv", name, value]
  # A path may be missing: LEAN_PATH names places that need not exist.
  for path in filter(None, (*_library_paths(), *paths)):
    absolute = os.path.abspath(path)
    argv += ["--ro-bind-try", absolute, absolute]
  # Both are file systems in memory, without a bound of their own.
  return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


@functools.cache
def _library_paths() -> tuple[str, ...]:
  """The dynamic loader, its cache and the directory of the C library.

  Not /usr/lib as a whole where libraries have a directory of their own: the
  rest holds compilers and other programs.
  """
  names = (f"lib/{sysconfig.get_config_var('MULTIARCH')}", "lib64", "lib")
  directory = next(
    (name for name in names if os.path.exists(f"/{name}/libc.so.6")), "lib"
  )
  loaders = sorted(
    str(path)
    for root in ("/lib", "/lib64")
    for path in pathlib.Path(root).glob("ld-*.so*")
  )
  return (
    *loaders,
    "/etc/ld.so.cache",
    f"/usr/{directory}",
    f"/{directory}",
  )
