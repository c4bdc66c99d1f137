"""Another verifier, which is asked about chosen proofs after Lean accepted.

In: a problem and the audit of a proof. Out: an Opinion. The verifier is a
command of the user's (SafeVerify, comparator, leanchecker, …), run apart and
confined like any checker, on two files: what was to be proved, left open, and
what was written. Exit status 0 agrees, 1 refuses, and anything else, like
silence, says nothing: a verifier that fails is not a verifier that disagrees.

It judges nothing itself and remembers no verdict.
"""

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping

from kimina_jax.types import Problem, UsageError
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.acceptance.lexer import normalise
from kimina_jax.verification.process import launch, memory
from kimina_jax.verification.process.local import (
  lean_surroundings,
  make_sandbox,
)
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.verdict_cache import digest

_log = logging.getLogger(__name__)

_WORDS = ("target", "proof", "name")
_CHUNK_BYTES = 2**16
_TAIL_CHUNKS = 4
_MAX_DETAIL = 2000
# Between two looks whether the command has ended while others hold its output.
_POLL_MS = 100
# How it looks when the command could not be started.
_UNSTARTED = (
  b"bwrap: ",
  f'Traceback (most recent call last):\n  File "{launch.__file__}"'.encode(),
)
# A question whose answer is known, to see whether the command works at all.
_KNOWN = "theorem t : True := by\n  "


@dataclasses.dataclass(frozen=True)
class Opinion:
  """What the other verifier says of a proof.

  Attributes:
    agrees: None if it could not tell.
    detail: the end of what it printed, and how it ended.
    seconds: that it took.
  """

  agrees: bool | None
  detail: str
  seconds: float


class Second:
  """Owns the processes of the other verifier; any thread may ask."""

  def __init__(self, settings: CheckerSettings):
    """Has the verifier answer a question whose answer is known.

    Raises:
      UsageError: no such command, or one that does not accept a plain proof.
    """
    self._argv = _read_command(settings.second_command)
    program = pathlib.Path(self._argv[0])
    self._env, paths = lean_surroundings(
      program.resolve().parent, settings.lean_path
    )
    files = filter(_is_path, self._argv)
    self._sandbox = dataclasses.replace(
      make_sandbox(settings, (*files, str(program.resolve()), *paths)),
      cpu_s=settings.second_timeout_s * (os.cpu_count() or 1),
    )
    self._timeout_s = settings.second_timeout_s
    self._share = settings.second_share
    self._limit_bytes = int(settings.memory_gib * 2**30)
    self._lock = threading.Lock()
    self._seen: set[str] = set()
    self._running: set[subprocess.Popen] = set()
    self._killed = False
    self._try_out(settings.second_command)

  def wanted(self, problem: Problem, final: str) -> bool:
    """Whether an accepted proof is to be shown to the verifier.

    The first one of each problem is, and of the others a share that depends on
    nothing but their text.
    """
    with self._lock:
      is_first = _key(problem) not in self._seen
      self._seen.add(_key(problem))
    lot = int(digest(_key(problem), final)[:13], 16) / 16**13
    return is_first or lot < self._share

  def ask(self, problem: Problem, audit: Audit) -> Opinion:
    """What the verifier says of a proof; waits for it.

    Args:
      problem: header and statement.
      audit: of the proof; its header is the one that was checked.
    """
    head = f"{audit.imports}\n{audit.preamble}\n"
    target = f"{head}{normalise(problem.statement)}\n  sorry\n"
    opinion = self._run(target, f"{head}{audit.proof}\n", audit.name)
    if opinion.agrees is None:
      with self._lock:
        # The next proof is the first one that it will have seen.
        self._seen.discard(_key(problem))
    return opinion

  def kill(self) -> None:
    """Ends every process; whoever waits for one learns nothing."""
    with self._lock:
      self._killed = True
      for process in self._running:
        _kill(process)

  def _try_out(self, command: str) -> None:
    opinion = self._run(f"{_KNOWN}sorry\n", f"{_KNOWN}trivial\n", "t")
    if not opinion.agrees:
      raise UsageError(
        f"checker.second_command {command!r} does not accept a proof of True "
        f"({opinion.detail}); try it by hand, or set it to '' to ask nobody"
      )
    opinion = self._run(f"{_KNOWN}sorry\n", f"{_KNOWN}sorry\n", "t")
    if opinion.agrees:
      _log.warning(
        "checker.second_command %r accepts a proof by sorry: it looks at less "
        "than the axioms, and its agreement means as little",
        command,
      )

  def _run(self, target: str, proof: str, name: str) -> Opinion:
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(
      prefix="kimina_jax-second-", ignore_cleanup_errors=True
    ) as folder:
      values = {
        "target": f"{folder}/Target.lean",
        "proof": f"{folder}/Proof.lean",
        "name": name,
      }
      pathlib.Path(values["target"]).write_text(target)
      pathlib.Path(values["proof"]).write_text(proof)
      argv = [_fill(word, values) for word in self._argv]
      code, output = self._execute(argv, folder, started_s + self._timeout_s)
    seconds = time.monotonic() - started_s
    ended = "no answer in time" if code is None else f"exit status {code}"
    if output.startswith(_UNSTARTED):
      # What confines the command ends with 1 if it cannot start it.
      code, ended = None, "not started"
    words = output.decode(errors="replace").strip()[-_MAX_DETAIL:]
    agrees = {0: True, 1: False}.get(code)
    return Opinion(agrees, f"{ended}; {words}", seconds)

  def _execute(
    self, argv: list[str], folder: str, deadline: float
  ) -> tuple[int | None, bytes]:
    """Exit status, None if it had to be ended, and what it printed."""
    group = memory.make_group(self._limit_bytes)
    try:
      process = self._start(argv, folder, str(group.path) if group else "")
      try:
        output = _listen(process, deadline)
      finally:
        is_over = self._end(process)
    finally:
      if group is not None:
        group.remove()
    return (process.returncode if is_over else None), output

  def _start(
    self, argv: list[str], folder: str, cgroup: str
  ) -> subprocess.Popen:
    sandbox = self._sandbox
    env = {**self._env, "TMPDIR": folder}
    if sandbox.mode == "bwrap":  # whose /tmp is its own
      sandbox = dataclasses.replace(sandbox, paths=(*sandbox.paths, folder))
      env["TMPDIR"] = "/tmp"
    process = subprocess.Popen(
      sandbox.wrap(argv, env, cgroup=cgroup),
      env=env,
      cwd=folder,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    with self._lock:
      self._running.add(process)
      if self._killed:
        _kill(process)
    return process

  def _end(self, process: subprocess.Popen) -> bool:
    """Ends a process with all of its group; whether it had ended by itself."""
    with self._lock:
      is_over = _has_ended(process)
      _kill(process)
      self._running.discard(process)
    process.wait()
    process.stdout.close()
    return is_over


def _read_command(command: str) -> list[str]:
  """The command's words, with the paths among them made absolute."""
  try:
    argv = shlex.split(command)
  except ValueError as error:
    raise UsageError(
      f"checker.second_command {command!r} cannot be read ({error}); close "
      "every quotation mark"
    ) from error
  program = shutil.which(argv[0]) if argv else None
  if program is None:
    raise UsageError(
      f"checker.second_command {command!r} is no program; name one that is "
      "installed, as in 'safe_verify {target} {proof}', or set it to ''"
    )
  used = re.findall(r"\{(\w*)\}", command)
  if "proof" not in used or not set(used) <= set(_WORDS):
    raise UsageError(
      f"checker.second_command {command!r} names {used}; it must hold "
      "{proof} and may hold {target} and {name}"
    )
  rest = (
    os.path.abspath(word) if _is_path(word) else word for word in argv[1:]
  )
  return [os.path.abspath(program), *rest]


def _is_path(word: str) -> bool:
  return os.sep in word and os.path.exists(word)


def _fill(word: str, values: Mapping[str, str]) -> str:
  return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], word)


def _key(problem: Problem) -> str:
  return digest(problem.header, problem.statement)


def _listen(process: subprocess.Popen, deadline: float) -> bytes:
  """Beginning and end of what a process prints until it ends or time is up.

  Others may hold its output open, so the end of that is not waited for.
  """
  head, tail = b"", collections.deque(maxlen=_TAIL_CHUNKS)
  output = process.stdout.fileno()
  poll = select.poll()
  poll.register(output, select.POLLIN)
  while time.monotonic() < deadline:
    is_over = _has_ended(process)
    if not poll.poll(0 if is_over else _POLL_MS):
      if is_over:
        break
      continue
    chunk = os.read(output, _CHUNK_BYTES)
    if not chunk:
      poll.unregister(output)
    elif len(head) < _CHUNK_BYTES:
      head += chunk
    else:
      tail.append(chunk)
  return head + b"".join(tail)


def _has_ended(process: subprocess.Popen) -> bool:
  """Looks without reaping, so that its number stays its own."""
  options = os.WEXITED | os.WNOHANG | os.WNOWAIT
  return os.waitid(os.P_PID, process.pid, options) is not None


def _kill(process: subprocess.Popen) -> None:
  """Ends a process that has not been reaped, and all that it started."""
  # Those that have left its group are still its descendants, if it lives.
  family = memory.descendants(process.pid)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  for pid in family:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
