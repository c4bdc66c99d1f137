"""Checkers that are processes of this machine: minilean and a Lean REPL.

In: the settings. Out: a Backend whose checkers run confined. It looks for
programs and asks for their versions; a checker starts when it is asked for.
"""

import dataclasses
import hashlib
import importlib.metadata
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
from kimina_jax.verification.process.sandbox import (
  Sandbox,
  python_paths,
  resolve_mode,
)
from kimina_jax.verification.process.worker import Worker
from kimina_jax.verification.settings import CheckerSettings

_PACKAGE = pathlib.Path(kimina_jax.__file__).parent
_LEAN_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Program:
  """A command that speaks the REPL's protocol.

  Attributes:
    argv: the command.
    env: its whole environment.
    paths: files and directories that it must be able to read.
    toolchain: as of Backend.
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

  def start() -> Worker:
    group = memory.make_group(limit_bytes)
    argv = sandbox.wrap(
      program.argv, program.env, cgroup=str(group.path) if group else ""
    )
    return Worker(argv, program.env, group)

  return Backend(settings.backend, program.toolchain, sandbox.mode, start)


def make_sandbox(settings: CheckerSettings, paths: tuple[str, ...]) -> Sandbox:
  """How to confine a program that may read the given paths.

  Raises:
    UsageError: an isolation that does not work here.
  """
  return Sandbox(
    mode=resolve_mode(settings.isolation),
    paths=paths,
    cpu_s=settings.load_timeout_s + settings.max_uses * settings.exec_timeout_s,
    address_gib=settings.address_gib,
  )


def lean_surroundings(
  directory: pathlib.Path, lean_path: str
) -> tuple[dict[str, str], tuple[str, ...]]:
  """The environment of a program that uses Lean, and what it must read.

  Args:
    directory: of the program; the toolchain manager chooses by it.
    lean_path: where the libraries are.
  """
  sysroot = _sysroot(directory)
  env = {**_environment(), "LEAN_PATH": lean_path}
  if sysroot:
    env["LEAN_SYSROOT"] = sysroot
    env["PATH"] = f"{sysroot}/bin:{env['PATH']}"
  paths = (sysroot, *lean_path.split(":"))
  return env, tuple(path for path in paths if path)


def _minilean() -> Program:
  sources = sorted((_PACKAGE / "minilean").glob("*.[pl]*"))
  digest = _digest(*sources)
  solver = importlib.metadata.version("z3-solver")
  return Program(
    argv=(sys.executable, "-m", "kimina_jax.minilean"),
    env={
      **_environment(),
      "PYTHONPATH": str(_PACKAGE.parent),
      "PYTHONDONTWRITEBYTECODE": "1",
    },
    paths=(*python_paths(("lark", "z3")), str(_PACKAGE)),
    toolchain=f"minilean {digest}, z3 {solver}",
  )


def _lean_repl(command: str, lean_path: str) -> Program:
  argv = shlex.split(command)
  program = shutil.which(argv[0]) if argv else None
  if program is None:
    raise UsageError(
      f"checker command {command!r} is no program; set checker.command to "
      "the command line of a Lean REPL, or checker.backend to 'minilean'"
    )
  binary = pathlib.Path(program).resolve()
  env, paths = lean_surroundings(binary.parent, lean_path)
  # Of the toolchain the libraries alone: its programs include a compiler.
  sysroot = env.get("LEAN_SYSROOT", "")
  paths = [f"{sysroot}/lib" if path == sysroot else path for path in paths]
  files = [argument for argument in argv[1:] if os.path.exists(argument)]
  digest = _digest(binary, *map(pathlib.Path, filter(os.path.isfile, files)))
  version = _version(sysroot)
  return Program(
    argv=(program, *argv[1:]),
    env=env,
    paths=(program, str(binary), *paths, *files),
    toolchain=f"{version}, repl {digest}, LEAN_PATH {lean_path}",
  )


def _sysroot(directory: pathlib.Path) -> str:
  """The Lean toolchain that a directory uses; "" if there is none."""
  if "LEAN_SYSROOT" in os.environ or shutil.which("lean") is None:
    return os.environ.get("LEAN_SYSROOT", "")
  # The toolchain manager chooses by directory; the REPL would ask it again,
  # per worker and inside the sandbox, if this did not tell it.
  return _ask(["lean", "--print-prefix"], directory)


def _version(sysroot: str) -> str:
  lean = pathlib.Path(sysroot) / "bin" / "lean"
  if not sysroot or not lean.exists():
    return "unknown Lean"
  return _ask([str(lean), "--version"], lean.parent) or "unknown Lean"


def _ask(argv: list[str], directory: pathlib.Path) -> str:
  """What a program of the user's prints; "" if it fails."""
  asked = subprocess.run(
    argv,
    cwd=directory,
    capture_output=True,
    text=True,
    timeout=_LEAN_TIMEOUT_S,
  )
  return asked.stdout.strip() if asked.returncode == 0 else ""


def _digest(*files: pathlib.Path) -> str:
  state = hashlib.sha256()
  for file in files:
    state.update(hashlib.sha256(file.read_bytes()).digest())
  return state.hexdigest()[:16]


def _environment() -> dict[str, str]:
  """All that a checker sees of the environment: no secrets, no home."""
  path = os.environ.get("PATH", os.defpath)
  return {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8"}
