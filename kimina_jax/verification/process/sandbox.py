"""Sandbox: wraps a command so that it runs isolated.

In: a command. Out: the command line that runs it in one of three modes.
`bwrap` gives the process namespaces of its own, without network and without
other processes, and a file system of the named paths and the system's shared
libraries, all read-only, with an empty /tmp of bounded size: no shell, no
compiler, no command but its own. It adds the limits of `rlimit`: on processor
time, address space, file size and descriptors. `none` isolates nothing and must
be set explicitly. In all modes the process ends with the one that starts it.

No mode limits the number of processes: RLIMIT_NPROC counts every thread of the
user on the machine, also those outside (a user namespace keeps the limit under
which it was made), and does not bind root. memory.py counts the processes, and
a control group bounds them.

This module builds command lines and starts nothing but one probe.
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
  """The isolation of one kind of command.

  Attributes:
    mode: the isolation in force: `bwrap`, `rlimit` or `none`.
    paths: what `bwrap` lets it read, besides the system's libraries.
    cpu_s: processor time of the process, in seconds.
    address_gib: address space. It includes mapped files; anonymous memory is
      limited elsewhere (see memory.py).
  """

  mode: str
  paths: tuple[str, ...]
  cpu_s: float
  address_gib: float

  def wrap(
    self, argv: Sequence[str], env: Mapping[str, str], *, cgroup: str = ""
  ) -> list[str]:
    """The command line that runs a command in the sandbox.

    The process ends with the thread that starts it, which must outlive it.

    Args:
      argv: the command.
      env: its whole environment.
      cgroup: directory of the control group that it joins; "" for none.
    """
    # -S and -I: without site packages and variables of the environment.
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
  """The strongest mode that works for `auto`, else the given mode.

  Raises:
    UsageError: no such mode, or `bwrap` does not work here.
  """
  if isolation not in ISOLATION_CHOICES:
    raise UsageError(
      f"isolation {isolation!r} is not one of {', '.join(ISOLATION_CHOICES)}"
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
  """The paths that this Python interpreter needs to run in a sandbox.

  Args:
    packages: top-level packages that it can import besides the standard
      library.

  Raises:
    UsageError: a package is not installed.
  """
  # The path that it is started by, and the file that it links to.
  paths = [sys.executable, os.path.realpath(sys.executable)]
  # In a virtual environment, this file names the interpreter's home.
  paths += filter(os.path.exists, [f"{sys.prefix}/pyvenv.cfg"])
  if sys.base_prefix == "/usr":  # its lib holds compilers, too
    paths += [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
  else:
    paths.append(f"{sys.base_prefix}/lib")
  for name in packages:
    spec = importlib.util.find_spec(name)
    if spec is None:
      raise UsageError(f"package {name!r} is not installed; install it")
    paths += spec.submodule_search_locations or filter(None, [spec.origin])
  return tuple(dict.fromkeys(paths))


@functools.cache
def bwrap_problem() -> str:
  """The reason why bwrap cannot be used; "" if it can."""
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
  options = (
    "--unshare-all --unshare-user --disable-userns "
    f"--uid {_NOBODY} --gid {_NOBODY} "
    "--die-with-parent --new-session --hostname sandbox "
    "--cap-drop ALL --clearenv --proc /proc --dev /dev "
    f"--size {_TMP_BYTES} --tmpfs /tmp --chdir /tmp"
  )
  argv = [shutil.which("bwrap") or "bwrap", *options.split()]
  for name, value in env.items():
    argv += ["--setenv", name, value]
  # A path may be missing: LEAN_PATH may name directories that do not exist.
  for path in filter(None, (*_library_paths(), *paths)):
    absolute = os.path.abspath(path)
    argv += ["--ro-bind-try", absolute, absolute]
  # Both are file systems in memory without a limit of size.
  return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


@functools.cache
def _library_paths() -> tuple[str, ...]:
  """The dynamic loader, its cache and the directory of the C library.

  Where libraries have a directory of their own, the rest of /usr/lib is left
  out: it holds compilers and other programs.
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
