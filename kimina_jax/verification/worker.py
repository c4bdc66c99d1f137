"""One checker process and what it has loaded: an audit in, a verdict out.

A worker keeps the environment of every header it has imported, so that a
header is imported once per process. It never outlives a doubt: after a crash,
a timeout or an odd reply it calls itself broken and its owner replaces it.
"""

import dataclasses
import os
import pathlib
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping

import kimina_jax
from kimina_jax.types import Status, UsageError, Verdict
from kimina_jax.verification.audit import Audit, decided, judge
from kimina_jax.verification.protocol import Reply, WorkerFailure
from kimina_jax.verification.repl import Repl
from kimina_jax.verification.sandbox import Sandbox

BACKENDS = ("minilean", "repl")

_PACKAGE = pathlib.Path(kimina_jax.__file__).parent
_SYSROOT_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Backend:
  """Which program checks.

  Attributes:
    argv: its command.
    env: its whole environment.
    paths: files and directories that it must be able to read.
  """

  argv: tuple[str, ...]
  env: Mapping[str, str]
  paths: tuple[str, ...]


class Worker:
  """Owns one process, sandboxed, and the headers it has imported."""

  def __init__(self, backend: Backend, sandbox: Sandbox):
    """Starts the process.

    Raises:
      OSError: it cannot be started.
    """
    argv = sandbox.wrap(backend.argv, backend.env)
    self._repl = Repl(argv, env=backend.env)
    self._headers: dict[str, int] = {}
    self.num_uses = 0
    self.broken = False

  def load(self, header: str, *, timeout_s: float) -> Verdict | None:
    """Imports a header unless it is loaded; an INFRA_ERROR if that fails."""
    if header in self._headers:
      return None
    try:
      reply = self._repl.command(header, timeout_s=timeout_s)
    except WorkerFailure as failure:
      self.broken = True
      return Verdict(Status.INFRA_ERROR, detail=f"while loading: {failure}")
    errors = [m.text for m in reply.messages if m.severity == "error"]
    if errors:
      detail = f"the header does not elaborate: {'; '.join(errors)[:2000]}"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    self._headers[header] = reply.env
    return None

  def check(self, audit: Audit, *, timeout_s: float) -> Verdict:
    """Runs an audit whose header is loaded.

    Args:
      audit: what to ask.
      timeout_s: for the whole audit.
    """
    self.num_uses += 1
    deadline = time.monotonic() + timeout_s
    replies: list[Reply] = []
    env = self._headers[audit.header]
    # Drawn now: the proof's text is fixed.
    nonce, seal = secrets.token_hex(8), secrets.token_hex(8)
    for text in audit.commands(nonce, seal):
      left_s = deadline - time.monotonic()
      try:
        reply = self._repl.command(text, env=env, timeout_s=left_s)
      except WorkerFailure as failure:
        self.broken = True
        # Before the model's text is sent, nothing is the model's fault.
        status = failure.status if replies else Status.INFRA_ERROR
        return Verdict(status, detail=failure.detail)
      env = reply.env
      replies.append(reply)
      if decided(replies):
        break
    verdict = judge(seal, replies)
    self.broken = verdict.status is Status.PROTOCOL_VIOLATION
    return verdict

  def kill(self) -> None:
    """Ends the process; may be called from any thread."""
    self._repl.kill()

  def close(self) -> None:
    """Ends the process and frees what it held."""
    self._repl.close()


def make_backend(backend: str, command: str, lean_path: str) -> Backend:
  """Which program to run, as the configuration says.

  Raises:
    UsageError: no such backend, or no such command.
  """
  if backend == "minilean":
    return _minilean()
  if backend == "repl":
    return _lean_repl(command, lean_path)
  raise UsageError(f"backend {backend!r} is none of {', '.join(BACKENDS)}")


def _minilean() -> Backend:
  return Backend(
    argv=(sys.executable, "-m", f"{__package__}.minilean"),
    env={
      **_environment(),
      "PYTHONPATH": str(_PACKAGE.parent),
      "PYTHONDONTWRITEBYTECODE": "1",
    },
    paths=(sys.prefix, sys.base_prefix, str(_PACKAGE)),
  )


def _lean_repl(command: str, lean_path: str) -> Backend:
  argv = shlex.split(command)
  program = shutil.which(argv[0]) if argv else None
  if program is None:
    raise UsageError(
      f"checker command {command!r} is no program; set checker.command to "
      "the command line of a Lean REPL, or checker.backend to 'minilean'"
    )
  binary = pathlib.Path(program).resolve()
  sysroot = _sysroot(binary.parent)
  env = {**_environment(), "LEAN_PATH": lean_path}
  if sysroot:
    env["LEAN_SYSROOT"] = sysroot
    env["PATH"] = f"{sysroot}/bin:{env['PATH']}"
  files = [argument for argument in argv[1:] if os.path.exists(argument)]
  paths = [program, str(binary), sysroot, *lean_path.split(":"), *files]
  return Backend(
    (program, *argv[1:]), env, tuple(path for path in paths if path)
  )


def _sysroot(directory: pathlib.Path) -> str:
  """The Lean toolchain that a directory uses; "" if there is none."""
  if "LEAN_SYSROOT" in os.environ or shutil.which("lean") is None:
    return os.environ.get("LEAN_SYSROOT", "")
  # The toolchain manager chooses by directory; the REPL would ask it again,
  # per worker and inside the sandbox, if this did not tell it.
  asked = subprocess.run(
    ["lean", "--print-prefix"],
    cwd=directory,
    capture_output=True,
    text=True,
    timeout=_SYSROOT_TIMEOUT_S,
  )
  return asked.stdout.strip() if asked.returncode == 0 else ""


def _environment() -> dict[str, str]:
  """All that a checker sees of the environment: no secrets, no home."""
  path = os.environ.get("PATH", os.defpath)
  return {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8"}
