"""Proofs in, future verdicts out; many at once.

  submit -> known? stored? refused? -> backlog -> slot -> (second) -> verdict

Every item ends exactly once, with a verdict; a bad item, a crash or a hang is
a verdict too, never an exception. Equal proofs are checked once, and verdicts
that cannot change are kept from one run to the next. A proof that a second
verifier refuses is DISPUTED, and nothing more is proved of its problem.

It starts no JAX and reads no file but its store; the processes it starts end
with it.
"""

import concurrent.futures
import dataclasses
import functools
import logging
import threading
import time
from typing import Self

from kimina_jax.types import Extraction, Problem, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.acceptance.lexer import LexError, normalise
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.appeal import CANCELLED, SecondVerifier
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.process.local import make_local_backend
from kimina_jax.verification.queue import Closed, VerificationQueue
from kimina_jax.verification.remote.server import make_server_backend
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


@dataclasses.dataclass(eq=False)
class _Item:
  """A proof on its way; `futures` grows while equal ones arrive."""

  key: str
  problem: Problem
  final: str
  confirm: bool
  futures: list[VerdictFuture]
  submitted_s: float
  audit: Audit | None = None

  @property
  def imports(self) -> str:
    return self.audit.imports


class VerificationPool:
  """Owns the checkers, the threads that wait for them, and the store.

  Example:
    with VerificationPool(CheckerSettings(**config.checker)) as pool:
      verdict = pool.submit(problem, extract(response)).result()

  Attributes:
    backend: what checks.
  """

  def __init__(self, settings: CheckerSettings):
    """Starts the threads; a checker starts when the first proof needs it.

    Raises:
      UsageError: a command, a server or an isolation that is not available.
    """
    self.backend = make_backend(settings)
    self._settings = settings
    self._rules = SyntaxRules(settings.max_heartbeats, settings.native_decide)
    # What verdicts follow from, besides the proof.
    self._circumstances = f"{self.backend.toolchain}; {self._rules}"
    self._store = (
      VerdictCache(settings.verdict_cache) if settings.verdict_cache else None
    )
    self._stats = VerificationStats(
      settings.num_workers, self.backend.isolation
    )
    self._appeals = SecondVerifier(settings, self._stats)
    self._crew = WorkerPool(self.backend, settings, self._stats)
    self._backlog: VerificationQueue[_Item] = VerificationQueue(
      settings.max_pending
    )
    self._lock = threading.Lock()
    self._closed = False
    self._known: dict[str, _Item | Verdict] = {}
    self._threads = [
      threading.Thread(target=self._serve, daemon=True, name=f"checker-{slot}")
      for slot in range(settings.num_workers)
    ]
    for thread in self._threads:
      thread.start()

  @property
  def isolation(self) -> str:
    """In force: `bwrap`, `rlimit`, `none` or `remote`."""
    return self.backend.isolation

  def submit(
    self, problem: Problem, extraction: Extraction, *, confirm: bool = False
  ) -> VerdictFuture:
    """Queues a proof; waits while as many wait as may.

    Args:
      problem: what was to be proved.
      extraction: the response; one that breaks the pattern is MALFORMED.
      confirm: whether the second verifier must be asked, if there is one and
        the proof is accepted.

    Returns:
      The verdict to come. It may be cancelled until then; a proof that nobody
      waits for is not checked.

    Raises:
      RuntimeError: the pool is closed.
    """
    future: VerdictFuture = concurrent.futures.Future()
    key = self._key(problem, extraction)
    item = _Item(
      *(key, problem, extraction.final, confirm, [future]), time.monotonic()
    )
    with self._lock:
      if self._closed:
        raise RuntimeError("the pool is closed")
      if self._joins(item, self._known.get(key)):
        self._stats.count("cache_hits")
        return future
      self._remember(item)
    self._begin(item, extraction.error)
    return future

  def stats(self) -> dict[str, float]:
    """What happened since the last call; see VerificationStats.read."""
    return self._stats.read()

  def drain(self, timeout_s: float) -> None:
    """Begins nothing more and waits for what has begun.

    What still waits is an INFRA_ERROR at once, and what is unfinished after so
    many seconds becomes one.
    """
    with self._lock:
      self._closed = True
    for item in self._backlog.close():
      self._settle(item, CANCELLED)
    deadline = time.monotonic() + timeout_s
    for thread in self._threads:
      thread.join(max(deadline - time.monotonic(), 0.0))
    self._crew.kill()
    for thread in self._threads:
      thread.join()
    self._appeals.kill()

  def close(self) -> None:
    """Ends every process; what is unfinished becomes an INFRA_ERROR."""
    self.drain(0.0)
    self._crew.close()
    if self._store is not None:
      self._store.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _joins(self, item: _Item, known: _Item | Verdict | None) -> bool:
    """Whether an equal proof answers this one too, now or later."""
    (future,) = item.futures
    if isinstance(known, _Item):
      known.futures.append(future)
      known.confirm |= item.confirm
      return True
    if known is None or not self._appeals.stands(known, confirm=item.confirm):
      return False
    future.set_result(self._thawed(item.problem, known))
    return True

  def _begin(self, item: _Item, error: str) -> None:
    """Answers at once if that is possible, else puts the item to the others."""
    if error:
      self._settle(item, Verdict(Status.MALFORMED, detail=error))
      return
    # Before the store is asked: a verdict of an older policy shall not stand.
    audit = self._prepare(item)
    if isinstance(audit, Verdict):
      self._settle(item, audit)
      return
    item.audit = audit
    stored = self._store.get(item.key) if self._store is not None else None
    if stored is not None:
      self._stats.count("verdict_cache_hits")
      self._decide(item, stored)
      return
    try:
      self._backlog.put(item)
    except Closed:
      self._settle(item, CANCELLED)

  def _prepare(self, item: _Item) -> Audit | Verdict:
    try:
      return prepare_audit(item.problem, item.final, self._rules)
    except Exception as error:  # no text may stop a run
      _log.exception("the audit of %s failed", item.problem.name)
      return Verdict(Status.INFRA_ERROR, detail=repr(error))

  def _serve(self) -> None:
    """A thread's life: one item after the other."""
    slot = WorkerSlot(self._crew, self._settings, self._stats)
    while (item := self._backlog.take(slot.imports)) is not None:
      started_s = time.monotonic()
      if self._is_unwanted(item):
        continue
      queue_s = started_s - item.submitted_s
      try:
        verdict = self._check(slot, item, queue_s)
      except Exception as error:  # a thread must outlive any one item
        _log.exception("the checker failed on %s", item.problem.name)
        verdict = Verdict(Status.INFRA_ERROR, detail=repr(error))
      self._stats.busy(time.monotonic() - started_s)
      self._decide(item, dataclasses.replace(verdict, queue_s=queue_s))
    slot.close()

  def _check(self, slot: WorkerSlot, item: _Item, queue_s: float) -> Verdict:
    if queue_s > self._settings.queue_timeout_s:
      detail = f"waited {queue_s:.0f} s for a worker"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    verdict = slot.judge(item.audit)
    if self._closed and verdict.status not in DETERMINISTIC:
      # Killed by us, whatever it looks like.
      return CANCELLED
    return verdict

  def _is_unwanted(self, item: _Item) -> bool:
    """Forgets an item if all who waited for it have cancelled."""
    with self._lock:
      if not all(future.cancelled() for future in item.futures):
        return False
      if self._known.get(item.key) is item:
        del self._known[item.key]
    self._stats.count("cancelled")
    return True

  def _decide(self, item: _Item, verdict: Verdict) -> None:
    """Has an accepted proof looked at again, if that is due."""
    problem = item.problem
    verdict = self._thawed(problem, verdict)
    if (
      verdict.proved
      and not verdict.confirmed
      and self._appeals.is_due(problem, item.final, confirm=item.confirm)
    ):
      settle = functools.partial(self._settle, item)
      self._appeals.hear(problem, item.audit, verdict, settle)
    else:
      self._settle(item, verdict)

  def _thawed(self, problem: Problem, verdict: Verdict) -> Verdict:
    """The verdict, unless nothing may be proved of the problem any more."""
    if not (verdict.proved and self._appeals.is_frozen(problem)):
      return verdict
    return dataclasses.replace(
      verdict, status=Status.DISPUTED, detail="the problem is frozen"
    )

  def _settle(self, item: _Item, verdict: Verdict) -> None:
    """The end of an item: to all who wait for it."""
    is_lasting = verdict.status in DETERMINISTIC
    with self._lock:
      if self._known.get(item.key) is item:
        if is_lasting:
          self._known[item.key] = verdict
        else:
          del self._known[item.key]
    self._stats.verdict(verdict)
    if is_lasting and self._store is not None:
      self._store.put(item.key, verdict)
    for future in item.futures:
      if future.set_running_or_notify_cancel():
        future.set_result(verdict)

  def _remember(self, item: _Item) -> None:
    self._known[item.key] = item
    while len(self._known) > _MAX_KNOWN:
      self._known.pop(next(iter(self._known)))

  def _key(self, problem: Problem, extraction: Extraction) -> str:
    """What the verdict follows from, in one text."""
    final = extraction.final
    try:
      final = normalise(final)
    except LexError:
      pass  # no Lean, and refused as it stands
    return digest(
      *(self._circumstances, problem.header, problem.statement),
      *(extraction.error, final),
    )


def make_backend(settings: CheckerSettings) -> Backend:
  """What checks, as the settings say.

  Raises:
    UsageError: it is not available.
  """
  if settings.backend == "server":
    return make_server_backend(settings)
  return make_local_backend(settings)
