"""Verification pool: checks proofs with several workers, asynchronously.

  submit ─▶ syntax and statement ─▶ verdict cache ─▶ queue ─▶ worker slot ─▶
  second verifier ─▶ verdict

In: a problem and the proof of a response. Out: a future of its verdict. Every
proof gets exactly one verdict; a malformed proof, a crash or a hang is a
verdict too, never an exception. Equal proofs are checked once, and verdicts
that cannot change are kept from one run to the next. A proof that the second
verifier refuses is DISPUTED, and no later proof of its problem is accepted.

It imports no JAX and reads no file but its verdict cache; the processes that it
starts end with it.
"""

import concurrent.futures
import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from kimina_jax.types import Extraction, Problem, Status, Verdict, require
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.acceptance.lexer import LexError, normalise
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.process.local import make_local_backend
from kimina_jax.verification.queue import QueueClosed, VerificationQueue
from kimina_jax.verification.remote.server_worker import make_server_backend
from kimina_jax.verification.second_verifier import CANCELLED, SecondVerifier
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.verdict_cache import (
  DETERMINISTIC,
  VerdictCache,
  digest,
)
from kimina_jax.verification.worker_pool import WorkerPool
from kimina_jax.verification.worker_slot import WorkerSlot

VerdictFuture = concurrent.futures.Future[Verdict]

_log = logging.getLogger(__name__)
_MAX_KNOWN = 65_536  # verdicts in memory
_POLL_S = 0.1  # between two calls of `poll` in wait_for_verdict

# Backend that `checker.backend` names → the function that makes it.
BACKENDS: dict[str, Callable[[CheckerSettings], Backend]] = {
  "minilean": make_local_backend,
  "repl": make_local_backend,
  "server": make_server_backend,
}


@dataclasses.dataclass(eq=False)
class _Item:
  """A submitted proof; `futures` grows while equal proofs are submitted."""

  key: str
  problem: Problem
  final: str
  confirm: bool
  futures: list[VerdictFuture]
  submitted_s: float


@dataclasses.dataclass(frozen=True, eq=False)
class _AuditedItem:
  """A submitted proof that passed the checks that need no Lean."""

  item: _Item
  audit: Audit

  @property
  def imports(self) -> str:
    return self.audit.imports

  @property
  def submitted_s(self) -> float:
    return self.item.submitted_s


class VerificationPool:
  """Owns the workers, the threads that use them, and the verdict cache.

  Example:
    with VerificationPool(CheckerSettings(**config.checker)) as pool:
      verdict = pool.submit(problem, extract(response)).result()

  Attributes:
    backend: runs Lean.
  """

  def __init__(self, settings: CheckerSettings):
    """Starts the threads; a worker starts when the first proof needs it.

    Raises:
      UsageError: a command, a server or an isolation that is not available.
    """
    self.backend = make_backend(settings)
    self._settings = settings
    self._rules = SyntaxRules(settings.max_heartbeats, settings.native_decide)
    # All that a verdict depends on besides the proof. It is a part of the keys
    # of verdict caches, so its text must not change.
    self._key_prefix = (
      f"{self.backend.toolchain}; Rules(max_heartbeats="
      f"{settings.max_heartbeats}, native_decide={settings.native_decide})"
    )
    self._cache = (
      VerdictCache(settings.verdict_cache) if settings.verdict_cache else None
    )
    self._stats = VerificationStats(
      settings.num_workers, self.backend.isolation
    )
    self._second_verifier = SecondVerifier(settings, self._stats)
    self._workers = WorkerPool(self.backend, settings, self._stats)
    self._queue: VerificationQueue[_AuditedItem] = VerificationQueue(
      settings.max_pending
    )
    self._lock = threading.Lock()
    self._closed = False
    self._known: dict[str, _Item | Verdict] = {}  # by key
    self._threads = [
      threading.Thread(target=self._run, daemon=True, name=f"checker-{index}")
      for index in range(settings.num_workers)
    ]
    for thread in self._threads:
      thread.start()

  @property
  def isolation(self) -> str:
    """The isolation in force: `bwrap`, `rlimit`, `none` or `remote`."""
    return self.backend.isolation

  def submit(
    self, problem: Problem, extraction: Extraction, *, confirm: bool = False
  ) -> VerdictFuture:
    """Submits a proof; blocks while the queue is full.

    Args:
      problem: what is to be proved.
      extraction: the parts of the response; one that breaks the pattern is
        MALFORMED.
      confirm: whether the second verifier, if there is one, must check the
        proof if it is accepted.

    Returns:
      A future of the verdict. It may be cancelled until the verdict is there; a
      proof whose futures are all cancelled is not checked.

    Raises:
      RuntimeError: the pool is closed.
    """
    future: VerdictFuture = concurrent.futures.Future()
    item = _Item(
      key=self._key(problem, extraction),
      problem=problem,
      final=extraction.final,
      confirm=confirm,
      futures=[future],
      submitted_s=time.monotonic(),
    )
    with self._lock:
      if self._closed:
        raise RuntimeError("the pool is closed")
      if self._join_equal(item, self._known.get(item.key)):
        self._stats.count("duplicates")
        return future
      self._remember(item)
    self._start(item, extraction.error)
    return future

  def stats(self) -> dict[str, float]:
    """Statistics since the last call; see VerificationStats.read."""
    return self._stats.read()

  def drain(self, timeout_s: float) -> None:
    """Closes the pool to new proofs and waits for those being checked.

    Proofs that still wait in the queue are INFRA_ERRORs at once; those that
    are unfinished after `timeout_s` become INFRA_ERRORs.
    """
    with self._lock:
      self._closed = True
    for waiting in self._queue.close():
      self._settle(waiting.item, CANCELLED)
    deadline = time.monotonic() + timeout_s
    for thread in self._threads:
      thread.join(max(deadline - time.monotonic(), 0.0))
    self._workers.kill()
    for thread in self._threads:
      thread.join()
    self._second_verifier.kill()

  def close(self) -> None:
    """Ends every process; unfinished proofs become INFRA_ERRORs."""
    self.drain(0.0)
    self._workers.close()
    if self._cache is not None:
      self._cache.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _join_equal(self, item: _Item, known: _Item | Verdict | None) -> bool:
    """Whether an equal proof's verdict, known or to come, serves the item."""
    (future,) = item.futures
    if isinstance(known, _Item):
      known.futures.append(future)
      known.confirm |= item.confirm
      return True
    if known is None:
      return False
    if not self._second_verifier.is_final(known, confirm=item.confirm):
      return False
    future.set_result(self._apply_dispute(item.problem, known))
    return True

  def _start(self, item: _Item, error: str) -> None:
    """Settles an item at once if that is possible, else queues it.

    Args:
      item: the submitted proof.
      error: of the extraction.
    """
    if error:
      self._settle(item, Verdict(Status.MALFORMED, detail=error))
      return
    # Before the cache is read: a verdict under older rules must not stand.
    audit = self._prepare(item)
    if isinstance(audit, Verdict):
      self._settle(item, audit)
      return
    cached = self._cache.get(item.key) if self._cache is not None else None
    if cached is not None:
      self._stats.count("verdict_cache_hits")
      self._verify_again_or_settle(item, audit, cached)
      return
    try:
      self._queue.put(_AuditedItem(item, audit))
    except QueueClosed:
      self._settle(item, CANCELLED)

  def _prepare(self, item: _Item) -> Audit | Verdict:
    try:
      return prepare_audit(item.problem, item.final, self._rules)
    except Exception as error:  # no text may stop a run
      _log.exception("the audit of %s failed", item.problem.name)
      return Verdict(Status.INFRA_ERROR, detail=repr(error))

  def _run(self) -> None:
    """The loop of a checker thread: takes items until the queue is closed."""
    slot = WorkerSlot(self._workers, self._settings, self._stats)
    while (waiting := self._queue.get(slot.imports)) is not None:
      item, audit = waiting.item, waiting.audit
      started_s = time.monotonic()
      if self._drop_if_cancelled(item):
        continue
      queue_s = started_s - item.submitted_s
      try:
        verdict = self._check(slot, audit, queue_s)
      except Exception as error:  # no item may end the thread
        _log.exception("the checker failed on %s", item.problem.name)
        verdict = Verdict(Status.INFRA_ERROR, detail=repr(error))
      self._stats.busy(time.monotonic() - started_s)
      verdict = dataclasses.replace(verdict, queue_s=queue_s)
      self._verify_again_or_settle(item, audit, verdict)
    slot.close()

  def _check(self, slot: WorkerSlot, audit: Audit, queue_s: float) -> Verdict:
    if queue_s > self._settings.queue_timeout_s:
      detail = f"waited {queue_s:.0f} s for a worker"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    verdict = slot.check(audit)
    if self._closed and verdict.status not in DETERMINISTIC:
      # The pool has killed the worker, whatever the verdict looks like.
      return CANCELLED
    return verdict

  def _drop_if_cancelled(self, item: _Item) -> bool:
    """Whether all futures of an item are cancelled; if so, removes it."""
    with self._lock:
      if not all(future.cancelled() for future in item.futures):
        return False
      if self._known.get(item.key) is item:
        del self._known[item.key]
    self._stats.count("cancelled")
    return True

  def _verify_again_or_settle(
    self, item: _Item, audit: Audit, verdict: Verdict
  ) -> None:
    """Submits an accepted proof to the second verifier, if that is due."""
    problem = item.problem
    verdict = self._apply_dispute(problem, verdict)
    if (
      verdict.proved
      and not verdict.confirmed
      and self._second_verifier.should_verify(
        problem, item.final, confirm=item.confirm
      )
    ):
      settle = functools.partial(self._settle, item)
      self._second_verifier.submit(problem, audit, verdict, settle)
    else:
      self._settle(item, verdict)

  def _apply_dispute(self, problem: Problem, verdict: Verdict) -> Verdict:
    """The verdict; DISPUTED for a proof of a disputed problem."""
    if not (verdict.proved and self._second_verifier.is_disputed(problem)):
      return verdict
    return dataclasses.replace(
      verdict,
      status=Status.DISPUTED,
      detail="the second verifier refused another proof of this problem",
    )

  def _settle(self, item: _Item, verdict: Verdict) -> None:
    """Gives the verdict to all futures of an item, and caches it."""
    is_deterministic = verdict.status in DETERMINISTIC
    with self._lock:
      if self._known.get(item.key) is item:
        if is_deterministic:
          self._known[item.key] = verdict
        else:
          del self._known[item.key]
    self._stats.verdict(verdict)
    if is_deterministic and self._cache is not None:
      self._cache.put(item.key, verdict)
    for future in item.futures:
      if future.set_running_or_notify_cancel():
        future.set_result(verdict)

  def _remember(self, item: _Item) -> None:
    self._known[item.key] = item
    while len(self._known) > _MAX_KNOWN:
      self._known.pop(next(iter(self._known)))

  def _key(self, problem: Problem, extraction: Extraction) -> str:
    """The key of everything that the verdict depends on."""
    final = extraction.final
    try:
      final = normalise(final)
    except LexError:
      pass  # not Lean; it is refused as it stands
    return digest(
      self._key_prefix,
      problem.header,
      problem.statement,
      extraction.error,
      final,
    )


def wait_for_verdict(
  future: VerdictFuture, poll: Callable[[], None]
) -> Verdict:
  """Waits for a verdict and calls `poll` ten times a second meanwhile.

  Args:
    future: of `VerificationPool.submit`.
    poll: called at least once; may raise to end the wait, for example after a
      signal.
  """
  while True:
    poll()
    if future.done():
      return future.result()
    concurrent.futures.wait([future], timeout=_POLL_S)


def make_backend(settings: CheckerSettings) -> Backend:
  """The backend that the settings name.

  Raises:
    UsageError: it is not available.
  """
  require(
    settings.backend in BACKENDS,
    "checker.backend",
    repr(settings.backend),
    f"choose one of {', '.join(BACKENDS)}",
  )
  return BACKENDS[settings.backend](settings)
