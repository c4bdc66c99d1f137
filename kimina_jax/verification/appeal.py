"""Second thoughts about accepted proofs.

In: a verdict that says proved. Out: the same, confirmed if another verifier
was asked and agrees; or DISPUTED if it refuses, and then no proof of that
problem is accepted any more: somebody must look first. Without a second
verifier every verdict stands.
"""

import concurrent.futures
import dataclasses
import logging
import threading
from collections.abc import Callable

from kimina_jax.types import Problem, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.second_verifier import Second
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats

# Of what a closing pool leaves undone.
CANCELLED = Verdict(
  Status.INFRA_ERROR, detail="not checked: the pool was closed"
)

_log = logging.getLogger(__name__)


class SecondVerifier:
  """Owns the second verifier and what is frozen; any thread may call."""

  def __init__(self, settings: CheckerSettings, stats: VerificationStats):
    """Tries the verifier out.

    Raises:
      UsageError: as Second.
    """
    self._second = Second(settings) if settings.second_command else None
    self._stats = stats
    self._frozen: set[tuple[str, str]] = set()
    self._threads = concurrent.futures.ThreadPoolExecutor(
      max(1, settings.num_workers // 4), "checker-second"
    )
    self._killed = threading.Event()

  def stands(self, verdict: Verdict, *, confirm: bool) -> bool:
    """Whether a verdict that is known answers who wants it confirmed."""
    wanted = confirm and self._second is not None
    return not (wanted and verdict.proved and not verdict.confirmed)

  def is_frozen(self, problem: Problem) -> bool:
    return (problem.header, problem.statement) in self._frozen

  def is_due(self, problem: Problem, final: str, *, confirm: bool) -> bool:
    """Whether an accepted proof is to be heard; a first proof always is."""
    if self._second is None:
      return False
    return self._second.wanted(problem, final) or confirm

  def hear(
    self,
    problem: Problem,
    audit: Audit,
    verdict: Verdict,
    settle: Callable[[Verdict], None],
  ) -> None:
    """Has a proof looked at again; `settle` gets the last word, later."""

    def ask() -> None:
      settle(self._ask(problem, audit, verdict))

    try:
      self._threads.submit(ask)
    except RuntimeError:  # closed meanwhile
      settle(CANCELLED)

  def kill(self) -> None:
    """Ends the verifier's processes and waits for the last words."""
    self._killed.set()
    if self._second is not None:
      self._second.kill()
    self._threads.shutdown()

  def _ask(self, problem: Problem, audit: Audit, verdict: Verdict) -> Verdict:
    if self._killed.is_set():
      return CANCELLED
    try:
      opinion = self._second.ask(problem, audit)
    except Exception:  # whatever it is, the item must end
      _log.exception("the second verifier of %s failed", problem.name)
      return verdict
    if opinion.agrees is None:
      self._stats.count("second_failed")
      _log.warning("the second verifier failed: %s", opinion.detail)
    if opinion.agrees is not False:
      return dataclasses.replace(verdict, confirmed=bool(opinion.agrees))
    self._frozen.add((problem.header, problem.statement))
    self._stats.count("disputed")
    _log.error(
      "DISPUTED: %s was proved here and refused by the second verifier (%s); "
      "nothing more of it is accepted. The proof:\n%s",
      *(problem.name, opinion.detail, audit.proof.strip()),
    )
    return dataclasses.replace(
      verdict, status=Status.DISPUTED, detail=opinion.detail
    )
