"""One place at which proofs are checked, one at a time.

In: an audit. Out: its verdict. It keeps one checker of the crew while proofs
need the same imports, gives it back when they need others, and replaces it
when it is worn or broken. An end that the proof may not have caused is tried
once more on a fresh checker. Never raises: what goes wrong is a verdict.
"""

import dataclasses
import logging
import time

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.backend import Checker
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.worker_pool import WorkerPool

_log = logging.getLogger(__name__)
# Ends that an earlier proof on the same process may have caused.
_DOUBTFUL = frozenset(
  (Status.OUT_OF_MEMORY, Status.CRASH, Status.PROTOCOL_VIOLATION)
)
_CAUSES = {
  Status.TIMEOUT: "timeout",
  Status.OUT_OF_MEMORY: "memory",
  Status.CRASH: "crash",
  Status.PROTOCOL_VIOLATION: "protocol",
  Status.INFRA_ERROR: "infra",
}


class WorkerSlot:
  """Owns at most one checker; for one thread.

  Attributes:
    imports: what its checker has loaded; None without one.
  """

  def __init__(
    self, crew: WorkerPool, settings: CheckerSettings, stats: VerificationStats
  ):
    self._crew = crew
    self._stats = stats
    self._exec_timeout_s = settings.exec_timeout_s
    self._max_uses = settings.max_uses
    self._checker: Checker | None = None
    self.imports: str | None = None

  def judge(self, audit: Audit) -> Verdict:
    """The verdict, with the seconds that loading and checking took."""
    verdict, is_doubtful = self._attempt(audit, fresh=False)
    if is_doubtful:
      _log.warning("retry on a fresh checker: %s", verdict.detail)
      self._stats.count("retries")
      verdict, _ = self._attempt(audit, fresh=True)
    return verdict

  def close(self) -> None:
    """Gives its checker back."""
    if self._checker is not None:
      self._crew.release(self.imports, self._checker)
      self._checker = self.imports = None

  def _attempt(self, audit: Audit, *, fresh: bool) -> tuple[Verdict, bool]:
    """A verdict, and whether a fresh checker may come to another."""
    started_s = time.monotonic()
    verdict = self._load(audit.imports, fresh=fresh)
    loaded_s = time.monotonic()
    load_s = loaded_s - started_s
    if verdict is not None:
      return dataclasses.replace(verdict, load_s=load_s), False
    was_used = self._checker.num_uses > 0
    verdict = self._checker.check(audit, timeout_s=self._exec_timeout_s)
    is_broken = self._checker.broken
    self._replace_if_worn(verdict)
    is_doubtful = is_broken and (
      verdict.status is Status.INFRA_ERROR
      or (was_used and verdict.status in _DOUBTFUL)
    )
    exec_s = time.monotonic() - loaded_s
    verdict = dataclasses.replace(verdict, load_s=load_s, exec_s=exec_s)
    return verdict, is_doubtful

  def _load(self, imports: str, *, fresh: bool) -> Verdict | None:
    """Sees to it that its checker has the imports; why not, if it cannot."""
    if self._checker is not None and self.imports == imports:
      self._stats.count("warm_hits")
      return None
    self.close()
    found = self._crew.hire(imports, fresh=fresh)
    if isinstance(found, Verdict):
      return found
    self._checker, self.imports = found, imports
    return None

  def _replace_if_worn(self, verdict: Verdict) -> None:
    checker = self._checker
    if checker.broken:
      cause = _CAUSES.get(verdict.status, "infra")
    elif checker.num_uses >= self._max_uses:
      cause = "uses"
    elif self._crew.is_tired(checker):
      cause = "memory"
    else:
      return
    self._checker = self.imports = None
    self._crew.retire(checker, cause)
