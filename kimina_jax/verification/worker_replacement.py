"""Replacement policy: when a worker is replaced, and when a proof is retried.

A worker is a checker process. It is replaced
- after a check that ended in a crash, a timeout, a protocol violation or an
  infrastructure error, because its state can no longer be trusted;
- after `max_uses` proofs;
- after a check that left it above the soft memory limit, so that the next proof
  does not fail for the memory of earlier ones.
During a check it is killed above the hard memory limit, or if it has too many
processes. There is no limit of age. WorkerSlot applies the rules between two
proofs, WorkerPool's memory watchdog those during a check.
"""

import enum

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.backend import Worker
from kimina_jax.verification.process.memory import MemoryUsage

_SOFT_MEMORY_SHARE = 0.75  # of the memory limit
_MAX_PROCESSES = 64  # of one worker; Lean is one process with many threads
# Statuses that an earlier proof on the same process may have caused.
_RETRIED = frozenset(
  (Status.OUT_OF_MEMORY, Status.CRASH, Status.PROTOCOL_VIOLATION)
)


class ReplacementReason(enum.StrEnum):
  """Reasons to replace a worker; each ends the name of a metric."""

  USES = "uses"
  MEMORY = "memory"
  CRASH = "crash"
  TIMEOUT = "timeout"
  PROTOCOL = "protocol"
  INFRA = "infra"


_REASONS = {
  Status.TIMEOUT: ReplacementReason.TIMEOUT,
  Status.OUT_OF_MEMORY: ReplacementReason.MEMORY,
  Status.CRASH: ReplacementReason.CRASH,
  Status.PROTOCOL_VIOLATION: ReplacementReason.PROTOCOL,
}


def replacement_reason(
  worker: Worker,
  status: Status,
  *,
  max_uses: int,
  is_above_soft_limit: bool,
) -> ReplacementReason | None:
  """The reason to replace a worker after a check; None if it can be kept.

  Args:
    worker: that ran the check.
    status: of the verdict.
    max_uses: proofs after which a worker is replaced.
    is_above_soft_limit: whether its memory has exceeded the soft limit.
  """
  if worker.must_replace:
    return _REASONS.get(status, ReplacementReason.INFRA)
  if worker.num_uses >= max_uses:
    return ReplacementReason.USES
  return ReplacementReason.MEMORY if is_above_soft_limit else None


def should_retry(
  verdict: Verdict, *, must_replace: bool, was_used: bool
) -> bool:
  """Whether a proof gets a second check, on a worker that is unused.

  Only what an earlier proof or the infrastructure may have caused is tried
  again: an error on a worker that had checked other proofs before.

  Args:
    verdict: of the first check.
    must_replace: whether that check made its worker untrustworthy.
    was_used: whether the worker had checked proofs before.
  """
  return must_replace and (
    verdict.status is Status.INFRA_ERROR
    or (was_used and verdict.status in _RETRIED)
  )


def is_above_soft_limit(usage: MemoryUsage, limit_bytes: int) -> bool:
  """Whether a worker is to be replaced after its current proof."""
  return usage.anonymous_bytes > _SOFT_MEMORY_SHARE * limit_bytes


def is_above_hard_limit(usage: MemoryUsage, limit_bytes: int) -> bool:
  """Whether a worker is to be killed now."""
  return (
    usage.anonymous_bytes > limit_bytes or usage.num_processes > _MAX_PROCESSES
  )
