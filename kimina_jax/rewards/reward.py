"""A judged rollout in, its reward out.

The reward is binary: 1 if the checker proved the statement and the response
passed the format gate, else 0 (Kimina-Prover Preview, arXiv 2504.11354, §3).
A sample without a verdict of its own, because the infrastructure failed or two
verifiers disagree, has no reward and is never punished.
"""

from kimina_jax.rewards.format import format_error
from kimina_jax.types import (
  Extraction,
  Rollout,
  Sample,
  Status,
  UsageError,
  Verdict,
)

_CHOICES = {"zero": 0.0, "exclude": None}


def score(
  rollout: Rollout,
  extraction: Extraction,
  verdict: Verdict,
  *,
  min_coverage: float,
  format_failure: str,
  truncated: str,
) -> Sample:
  """Rewards one rollout.

  Args:
    rollout: what the policy wrote.
    extraction: the response, taken apart.
    verdict: what the checker said.
    min_coverage: of the format gate, in [0, 1].
    format_failure: `zero` or `exclude` a response that fails the gate.
    truncated: `zero` or `exclude` a response cut at the maximum length, or
      because it went in circles.

  Returns:
    The sample; reward None means excluded from its group, as is a response
    that the caller cancelled.

  Raises:
    UsageError: a choice that is neither `zero` nor `exclude`.
  """
  check(
    min_coverage=min_coverage,
    format_failure=format_failure,
    truncated=truncated,
  )
  error = format_error(extraction, min_coverage=min_coverage)
  is_judged = verdict.status not in (Status.INFRA_ERROR, Status.DISPUTED)
  if not is_judged or rollout.stop == "cancelled":
    reward = None
  elif rollout.stop in ("length", "repetition"):
    reward = _CHOICES[truncated]
  elif error:
    reward = _CHOICES[format_failure]
  else:
    reward = float(verdict.proved)
  return Sample(rollout, verdict, format_error=error, reward=reward)


def check(*, min_coverage: float, format_failure: str, truncated: str) -> None:
  """Refuses options that `score` would refuse, before there is a rollout."""
  if not 0 <= min_coverage <= 1:
    raise UsageError(f"reward.min_coverage {min_coverage} is not in [0, 1]")
  for key, choice in (
    ("format_failure", format_failure),
    ("truncated", truncated),
  ):
    if choice not in _CHOICES:
      raise UsageError(f"reward.{key} {choice!r} is neither zero nor exclude")
