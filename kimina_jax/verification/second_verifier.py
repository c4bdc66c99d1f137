"""Second verifier: another program that checks chosen proofs after Lean.

In: a verdict PROVED. Out: the same verdict, `confirmed` if the second
verifier was run and agrees; or DISPUTED if it refuses the proof, and from then
on no proof of that problem is accepted, for as long as the job runs.
Without `checker.second_command` every verdict stands.

The verifier is a command of the user's (SafeVerify, comparator, leanchecker,
…). It is confined like any worker and run on two files: the statement with
`sorry` for a proof, and the proof. Exit status 0 means that it agrees, 1 that
it refuses; any other end, or none in time, is a failure of the verifier and
no evidence about the proof. It keeps no verdicts.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from kimina_jax.types import Problem, Status, UsageError, Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.acceptance.lexer import normalise
from kimina_jax.verification.process import launch, memory
from kimina_jax.verification.process.local import (
  lean_environment,
  make_sandbox,
  split_command,
)
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.verdict_cache import digest

# The verdict on a proof that a pool leaves unchecked when it is closed.
CANCELLED = Verdict(
  Status.INFRA_ERROR, detail="not checked: the pool was closed"
)

_log = logging.getLogger(__name__)

_PLACEHOLDERS = ("target", "proof", "name")
_CHUNK_BYTES = 2**16
_TAIL_CHUNKS = 4
_MAX_DETAIL_CHARS = 2000
# Interval of looking whether the command has ended, while a descendant of it
# still holds its output open.
_POLL_MS = 100
# What is printed if the sandbox could not start the command.
_START_FAILURES = (
  b"bwrap: ",
  f'Traceback (most recent call last):\n  File "{launch.__file__}"'.encode(),
)
# A theorem whose proof is known, to see whether the command works at all.
_KNOWN_THEOREM = "theorem t : True := by\n  "


class SecondVerifier:
  """Decides which accepted proofs are verified again, and has them verified.

  Any thread may call it. It owns the verifier's processes and the set of
  disputed problems.
  """

  def __init__(self, settings: CheckerSettings, stats: VerificationStats):
    """Runs the command on test proofs, if there is one.

    Raises:
      UsageError: as VerifierCommand.
    """
    self._command = (
      VerifierCommand(settings) if settings.second_command else None
    )
    self._stats = stats
    self._disputed: set[tuple[str, str]] = set()
    self._threads = concurrent.futures.ThreadPoolExecutor(
      max(1, settings.num_workers // 4), "checker-second"
    )
    self._killed = threading.Event()

  def is_final(self, verdict: Verdict, *, confirm: bool) -> bool:
    """Whether a known verdict can be returned without another verification.

    Args:
      verdict: on an equal proof.
      confirm: whether the caller asks for the second verifier.
    """
    is_missing = confirm and verdict.proved and not verdict.confirmed
    return self._command is None or not is_missing

  def is_disputed(self, problem: Problem) -> bool:
    """Whether the second verifier has refused a proof of the problem."""
    return (problem.header, problem.statement) in self._disputed

  def should_verify(
    self, problem: Problem, final: str, *, confirm: bool
  ) -> bool:
    """Whether an accepted proof is to be verified again.

    The first accepted proof of a problem always is.
    """
    if self._command is None:
      return False
    return self._command.is_selected(problem, final) or confirm

  def submit(
    self,
    problem: Problem,
    audit: Audit,
    verdict: Verdict,
    callback: Callable[[Verdict], None],
  ) -> None:
    """Has a proof verified; `callback` gets the final verdict, later."""
    try:
      self._threads.submit(
        lambda: callback(self._verify(problem, audit, verdict))
      )
    except RuntimeError:  # closed meanwhile
      callback(CANCELLED)

  def kill(self) -> None:
    """Kills the verifier's processes and waits for all callbacks."""
    self._killed.set()
    if self._command is not None:
      self._command.kill()
    self._threads.shutdown()

  def _verify(
    self, problem: Problem, audit: Audit, verdict: Verdict
  ) -> Verdict:
    if self._killed.is_set():
      return CANCELLED
    assert self._command is not None  # else no proof is submitted
    try:
      opinion = self._command.run(problem, audit)
    except Exception:  # whatever it is, the item must get a verdict
      _log.exception("the second verifier of %s failed", problem.name)
      return verdict
    if opinion.agrees is None:
      self._stats.count("second_failed")
      _log.warning("the second verifier failed: %s", opinion.detail)
    if opinion.agrees is not False:
      return dataclasses.replace(verdict, confirmed=bool(opinion.agrees))
    self._disputed.add((problem.header, problem.statement))
    self._stats.count("disputed")
    _log.error(
      "DISPUTED: %s was proved here and refused by the second verifier (%s); "
      "no proof of it is accepted any more. The proof:\n%s",
      problem.name,
      opinion.detail,
      audit.proof.strip(),
    )
    return dataclasses.replace(
      verdict, status=Status.DISPUTED, detail=opinion.detail
    )


@dataclasses.dataclass(frozen=True)
class Opinion:
  """The result of the second verifier on one proof.

  Attributes:
    agrees: whether it accepts the proof; None if it failed.
    detail: how it ended, and the end of what it printed.
    seconds: how long it ran.
  """

  agrees: bool | None
  detail: str
  seconds: float


class VerifierCommand:
  """Runs the command of the second verifier; any thread may call it."""

  def __init__(self, settings: CheckerSettings):
    """Runs the command on a proof and on a non-proof, to see that it works.

    Raises:
      UsageError: no such command, or one that does not accept a plain proof.
    """
    self._argv = _parse_command(settings.second_command)
    program = pathlib.Path(self._argv[0])
    self._env, paths = lean_environment(
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
    self._verified: set[str] = set()  # keys of problems
    self._running: set[subprocess.Popen[bytes]] = set()
    self._killed = False
    self._try_out(settings.second_command)

  def is_selected(self, problem: Problem, final: str) -> bool:
    """Whether an accepted proof is among those to be verified.

    The first one of each problem is, and a share of the others that depends on
    nothing but their text.
    """
    key = _problem_key(problem)
    with self._lock:
      is_first = key not in self._verified
      self._verified.add(key)
    fraction = int(digest(key, final)[:13], 16) / 16**13
    return is_first or fraction < self._share

  def run(self, problem: Problem, audit: Audit) -> Opinion:
    """Runs the verifier on a proof and waits for its end.

    Args:
      problem: header and statement.
      audit: of the proof; its header is the one that Lean has checked.
    """
    head = f"{audit.imports}\n{audit.preamble}\n"
    target = f"{head}{normalise(problem.statement)}\n  sorry\n"
    opinion = self._run(target, f"{head}{audit.proof}\n", audit.name)
    if opinion.agrees is None:
      with self._lock:
        # The next proof counts as the first one of the problem.
        self._verified.discard(_problem_key(problem))
    return opinion

  def kill(self) -> None:
    """Kills every process; runs in progress fail."""
    with self._lock:
      self._killed = True
      for process in self._running:
        _kill(process)

  def _try_out(self, command: str) -> None:
    opinion = self._run(
      f"{_KNOWN_THEOREM}sorry\n", f"{_KNOWN_THEOREM}trivial\n", "t"
    )
    if not opinion.agrees:
      raise UsageError(
        f"checker.second_command {command!r} does not accept a proof of True "
        f"({opinion.detail}); try it by hand, or set it to '' for no second "
        "verifier"
      )
    opinion = self._run(
      f"{_KNOWN_THEOREM}sorry\n", f"{_KNOWN_THEOREM}sorry\n", "t"
    )
    if opinion.agrees:
      _log.warning(
        "checker.second_command %r accepts a proof by sorry: it checks less "
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
      argv = [_fill_placeholders(word, values) for word in self._argv]
      code, output = self._execute(argv, folder, started_s + self._timeout_s)
    seconds = time.monotonic() - started_s
    ended = "no answer in time" if code is None else f"exit status {code}"
    if output.startswith(_START_FAILURES):
      # The sandbox exits with 1 if it cannot start the command.
      code, ended = None, "not started"
    text = output.decode(errors="replace").strip()[-_MAX_DETAIL_CHARS:]
    agrees = None if code is None else {0: True, 1: False}.get(code)
    return Opinion(agrees, f"{ended}; {text}", seconds)

  def _execute(
    self, argv: list[str], folder: str, deadline: float
  ) -> tuple[int | None, bytes]:
    """The exit status (None if it had to be killed) and the output."""
    group = memory.make_control_group(self._limit_bytes)
    try:
      process = self._start(argv, folder, str(group.path) if group else "")
      try:
        output = _read_output(process, deadline)
      finally:
        has_ended = self._end(process)
    finally:
      if group is not None:
        group.remove()
    return (process.returncode if has_ended else None), output

  def _start(
    self, argv: list[str], folder: str, cgroup: str
  ) -> subprocess.Popen[bytes]:
    sandbox = self._sandbox
    env = {**self._env, "TMPDIR": folder}
    if sandbox.mode == "bwrap":  # it mounts a /tmp of its own
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

  def _end(self, process: subprocess.Popen[bytes]) -> bool:
    """Kills a process with its group; returns whether it had ended before."""
    with self._lock:
      has_ended = _has_ended(process)
      _kill(process)
      self._running.discard(process)
    process.wait()
    if process.stdout is not None:
      process.stdout.close()
    return has_ended


def _parse_command(command: str) -> list[str]:
  """The words of a command line, with the paths among them made absolute."""
  argv = split_command(command, "second_command")
  program = shutil.which(argv[0]) if argv else None
  if program is None:
    raise UsageError(
      f"checker.second_command {command!r} is not found or not "
      "executable; name an installed program, as in "
      "'safe_verify {target} {proof}', or set it to ''"
    )
  used = re.findall(r"\{(\w*)\}", command)
  if "proof" not in used or not set(used) <= set(_PLACEHOLDERS):
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


def _fill_placeholders(word: str, values: Mapping[str, str]) -> str:
  return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], word)


def _problem_key(problem: Problem) -> str:
  return digest(problem.header, problem.statement)


def _read_output(process: subprocess.Popen[bytes], deadline: float) -> bytes:
  """The beginning and the end of a process's output until it ends.

  Its descendants may keep the output open, so that the end of the output is
  not waited for. At the deadline, what has been printed so far is returned.
  """
  head = b""
  tail: collections.deque[bytes] = collections.deque(maxlen=_TAIL_CHUNKS)
  assert process.stdout is not None  # it is a pipe
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


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
  """Whether a process has ended; does not reap it, so that its id is kept."""
  options = os.WEXITED | os.WNOHANG | os.WNOWAIT
  return os.waitid(os.P_PID, process.pid, options) is not None


def _kill(process: subprocess.Popen[bytes]) -> None:
  """Kills a process that has not been reaped, and all its descendants."""
  # Found before its death: those outside its group are found as descendants.
  family = memory.descendants(process.pid)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  for pid in family:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
