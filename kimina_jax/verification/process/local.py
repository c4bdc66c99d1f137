"""Local backends: checker processes on this machine, minilean or a Lean REPL.

In: the settings. Out: a Backend whose workers run in a sandbox. Making it looks
for the programs and runs them for their versions; it starts no worker.
"""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

import kimina_jax
from kimina_jax.types import UsageError
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.process import memory
from kimina_jax.verification.process.repl_worker import ReplWorker
from kimina_jax.verification.process.sandbox import (
  Sandbox,
  python_paths,
  resolve_mode,
)
from kimina_jax.verification.settings import CheckerSettings

_PACKAGE = pathlib.Path(kimina_jax.__file__).parent
_LEAN_TIMEOUT_S = 60.0
# Packages of the extra `minilean`.
_MINILEAN_PACKAGES = ("lark", "z3")


@dataclasses.dataclass(frozen=True)
class CheckerProgram:
  """A command that speaks the REPL protocol.

  Attributes:
    argv: the command.
    env: its whole environment.
    paths: files and directories that it must be able to read.
    toolchain: as in Backend.
  """

  argv: tuple[str, ...]
  env: Mapping[str, str]
  paths: tuple[str, ...]
  toolchain: str


def make_local_backend(settings: CheckerSettings) -> Backend:
  """The backend `minilean` or `repl`.

  Raises:
    UsageError: no such command, or an isolation that does not work here.
  """
  if settings.backend == "minilean":
    program = _minilean()
  else:
    program = _lean_repl(settings.command, settings.lean_path)
  sandbox = make_sandbox(settings, program.paths)
  limit_bytes = int(settings.memory_gib * 2**30)

  def start() -> ReplWorker:
    group = memory.make_control_group(limit_bytes)
    argv = sandbox.wrap(
      program.argv, program.env, cgroup=str(group.path) if group else ""
    )
    return ReplWorker(argv, program.env, group)

  return Backend(settings.backend, program.toolchain, sandbox.mode, start)


def make_sandbox(settings: CheckerSettings, paths: tuple[str, ...]) -> Sandbox:
  """The sandbox of a program that may read the given paths.

  Raises:
    UsageError: an isolation that does not work here.
  """
  return Sandbox(
    mode=resolve_mode(settings.isolation),
    paths=paths,
    cpu_s=settings.load_timeout_s + settings.max_uses * settings.exec_timeout_s,
    address_gib=settings.address_gib,
  )


def lean_environment(
  directory: pathlib.Path, lean_path: str
) -> tuple[dict[str, str], tuple[str, ...]]:
  """The environment of a program that uses Lean, and the paths it must read.

  Args:
    directory: of the program; elan chooses the toolchain by it.
    lean_path: LEAN_PATH, the directories of the libraries.
  """
  sysroot = _sysroot(directory)
  env = {**_environment(), "LEAN_PATH": lean_path}
  if sysroot:
    env["LEAN_SYSROOT"] = sysroot
    env["PATH"] = f"{sysroot}/bin:{env['PATH']}"
  paths = (sysroot, *lean_path.split(":"))
  return env, tuple(path for path in paths if path)


def split_command(command: str, key: str) -> list[str]:
  """The words of a command line in the settings, split as a shell does.

  Args:
    command: the value of the key.
    key: in the section `checker`.

  Raises:
    UsageError: a quotation mark is not closed.
  """
  try:
    return shlex.split(command)
  except ValueError as error:
    raise UsageError(
      f"checker.{key} {command!r} cannot be parsed ({error}); close every "
      "quotation mark"
    ) from error


def _minilean() -> CheckerProgram:
  """The embedded checker.

  Raises:
    UsageError: its solver or its parser is not installed.
  """
  if not all(map(importlib.util.find_spec, _MINILEAN_PACKAGES)):
    raise UsageError(
      "checker.backend = 'minilean' needs pip install 'kimina_jax[minilean]'"
    )
  sources = sorted((_PACKAGE / "minilean").glob("*.[pl]*"))
  digest = _digest(*sources)
  solver = importlib.metadata.version("z3-solver")
  return CheckerProgram(
    argv=(sys.executable, "-m", "kimina_jax.minilean"),
    env={
      **_environment(),
      "PYTHONPATH": str(_PACKAGE.parent),
      "PYTHONDONTWRITEBYTECODE": "1",
    },
    paths=(*python_paths(_MINILEAN_PACKAGES), str(_PACKAGE)),
    toolchain=f"minilean {digest}, z3 {solver}",
  )


def _lean_repl(command: str, lean_path: str) -> CheckerProgram:
  argv = split_command(command, "command")
  program = shutil.which(argv[0]) if argv else None
  if program is None:
    raise UsageError(
      f"checker.command {command!r} is not found or not executable; set "
      "checker.command to the command line of a Lean REPL, or "
      "checker.backend to 'minilean'"
    )
  binary = pathlib.Path(program).resolve()
  env, paths = lean_environment(binary.parent, lean_path)
  # The toolchain's libraries without its programs, among them a compiler.
  sysroot = env.get("LEAN_SYSROOT", "")
  readable = (f"{sysroot}/lib" if p == sysroot else p for p in paths)
  files = [argument for argument in argv[1:] if os.path.exists(argument)]
  digest = _digest(binary, *map(pathlib.Path, filter(os.path.isfile, files)))
  version = _version(sysroot)
  return CheckerProgram(
    argv=(program, *argv[1:]),
    env=env,
    paths=(program, str(binary), *readable, *files),
    toolchain=f"{version}, repl {digest}, LEAN_PATH {lean_path}",
  )


def _sysroot(directory: pathlib.Path) -> str:
  """The Lean toolchain that a directory uses; "" if there is none."""
  if "LEAN_SYSROOT" in os.environ or shutil.which("lean") is None:
    return os.environ.get("LEAN_SYSROOT", "")
  # elan chooses by directory. With LEAN_SYSROOT set, the REPL need not run it
  # again in every worker, inside the sandbox.
  return _output_of(["lean", "--print-prefix"], directory)


def _version(sysroot: str) -> str:
  lean = pathlib.Path(sysroot) / "bin" / "lean"
  if not sysroot or not lean.exists():
    return "unknown Lean"
  return _output_of([str(lean), "--version"], lean.parent) or "unknown Lean"


def _output_of(argv: list[str], directory: pathlib.Path) -> str:
  """The output of a program of the Lean toolchain; "" if it fails.

  Raises:
    UsageError: it does not run, or does not end in time.
  """
  try:
    done = subprocess.run(
      argv,
      cwd=directory,
      capture_output=True,
      text=True,
      timeout=_LEAN_TIMEOUT_S,
    )
  except (OSError, subprocess.TimeoutExpired) as error:
    raise UsageError(
      f"{shlex.join(argv)} in {directory} failed ({error}); run it there by "
      "hand, or set LEAN_SYSROOT to the directory of the Lean toolchain"
    ) from error
  return done.stdout.strip() if done.returncode == 0 else ""


def _digest(*files: pathlib.Path) -> str:
  state = hashlib.sha256()
  for file in files:
    state.update(hashlib.sha256(file.read_bytes()).digest())
  return state.hexdigest()[:16]


def _environment() -> dict[str, str]:
  """The environment of a worker: no secrets, no home directory."""
  path = os.environ.get("PATH", os.defpath)
  return {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8"}
