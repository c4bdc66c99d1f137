"""Worker slot: the place of one checker thread, with at most one worker.

In: audits, one at a time. Out: their verdicts. A slot keeps its worker while
the proofs need the same imports, returns it to the pool when they need others,
and replaces it by the rules of worker_replacement.py. A check that may have
failed because of an earlier proof is retried once on an unused worker. It
raises nothing: what goes wrong is a verdict.
"""

import dataclasses
import logging
import time

from kimina_jax.types import Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.backend import Worker
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.worker_pool import WorkerPool
from kimina_jax.verification.worker_replacement import (
  replacement_reason,
  should_retry,
)

_log = logging.getLogger(__name__)


class WorkerSlot:
  """Owns at most one worker; used by one thread."""

  def __init__(
    self,
    workers: WorkerPool,
    settings: CheckerSettings,
    stats: VerificationStats,
  ):
    self._workers = workers
    self._stats = stats
    self._exec_timeout_s = settings.exec_timeout_s
    self._max_uses = settings.max_uses
    # The worker, with the imports that it has loaded.
    self._loaded: tuple[str, Worker] | None = None

  @property
  def imports(self) -> str | None:
    """The imports that the worker has loaded; None without a worker."""
    return None if self._loaded is None else self._loaded[0]

  def check(self, audit: Audit) -> Verdict:
    """The verdict on an audit, with the seconds of loading and checking."""
    verdict, is_retried = self._attempt(audit, fresh=False)
    if is_retried:
      _log.warning("retry on a new worker: %s", verdict.detail)
      self._stats.count("retries")
      verdict, _ = self._attempt(audit, fresh=True)
    return verdict

  def close(self) -> None:
    """Returns the worker to the pool."""
    if self._loaded is not None:
      self._workers.release(*self._loaded)
      self._loaded = None

  def _attempt(self, audit: Audit, *, fresh: bool) -> tuple[Verdict, bool]:
    """A verdict, and whether to retry the audit on an unused worker."""
    started_s = time.monotonic()
    worker = self._load(audit.imports, fresh=fresh)
    loaded_s = time.monotonic()
    load_s = loaded_s - started_s
    if isinstance(worker, Verdict):
      return dataclasses.replace(worker, load_s=load_s), False
    was_used = worker.num_uses > 0
    verdict = worker.check(audit, timeout_s=self._exec_timeout_s)
    is_retried = should_retry(
      verdict, must_replace=worker.must_replace, was_used=was_used
    )
    reason = replacement_reason(
      worker,
      verdict.status,
      max_uses=self._max_uses,
      is_above_soft_limit=self._workers.is_above_soft_limit(worker),
    )
    if reason is not None:
      self._loaded = None
      self._workers.discard(worker, reason)
    exec_s = time.monotonic() - loaded_s
    verdict = dataclasses.replace(verdict, load_s=load_s, exec_s=exec_s)
    return verdict, is_retried

  def _load(self, imports: str, *, fresh: bool) -> Worker | Verdict:
    """The slot's worker with the imports loaded, or why there is none.

    Args:
      imports: import lines.
      fresh: whether a worker from the pool must be unused.
    """
    if self._loaded is not None and self._loaded[0] == imports:
      self._stats.count("warm_hits")
      return self._loaded[1]
    self.close()
    worker = self._workers.acquire(imports, fresh=fresh)
    if not isinstance(worker, Verdict):
      self._loaded = (imports, worker)
    return worker
