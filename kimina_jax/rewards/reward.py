"""The reward of a rollout, from its checker verdict and the format gate.

The reward is binary: 1 if the checker proved the statement and the response
passed the format gate, else 0 (Kimina-Prover Preview, arXiv 2504.11354, §3).
A rollout that is unverified because the infrastructure failed, or disputed
between two verifiers, has no reward and is left out of its group.

`make_sample` first applies the gates in the order of GATES: one that a rollout
does not pass sets its reward to zero or excludes it. The reward of a rollout
that passes all gates is the sum of TERMS. To add a gate or a reward term,
write a function of an attempt and the settings, and add it to the tuple.
"""

import dataclasses

from kimina_jax.rewards.format import format_error
from kimina_jax.types import (
  Extraction,
  Rollout,
  Sample,
  Status,
  Verdict,
  check_numbers,
  require,
)

ZERO, EXCLUDE = "zero", "exclude"


@dataclasses.dataclass(frozen=True)
class RewardSettings:
  """The config's `reward` section.

  Attributes:
    min_coverage: smallest coverage that passes the format gate, from 0 to 1.
    format_failure: `zero` or `exclude` a response that fails the format gate.
    truncated: `zero` or `exclude` a response that was cut at the maximum
      length, or that the sampler stopped because it repeated itself.
  """

  min_coverage: float
  format_failure: str
  truncated: str

  def __post_init__(self):
    check_numbers("reward", self)
    require(
      self.min_coverage <= 1,
      "reward.min_coverage",
      self.min_coverage,
      "choose a share of the final block's lines, from 0 to 1",
    )
    for name in ("format_failure", "truncated"):
      value = getattr(self, name)
      require(
        value in (ZERO, EXCLUDE),
        f"reward.{name}",
        repr(value),
        f"choose {ZERO!r} or {EXCLUDE!r}",
      )


@dataclasses.dataclass(frozen=True)
class Attempt:
  """A rollout with its verdict: the input of gates and reward terms.

  Attributes:
    rollout: the response and its tokens.
    extraction: the response, taken apart.
    verdict: the checker's.
    format_error: empty, or why the format gate refuses the response.
  """

  rollout: Rollout
  extraction: Extraction
  verdict: Verdict
  format_error: str


def unverified_gate(attempt: Attempt, settings: RewardSettings) -> str:
  """Excludes a rollout that is unverified (INFRA_ERROR) or disputed."""
  is_unverified = attempt.verdict.status in (
    Status.INFRA_ERROR,
    Status.DISPUTED,
  )
  return EXCLUDE if is_unverified else ""


def truncated_gate(attempt: Attempt, settings: RewardSettings) -> str:
  """Zeroes or excludes a response that did not end by itself."""
  is_cut = attempt.rollout.stop_reason in ("length", "repetition")
  return settings.truncated if is_cut else ""


def format_gate(attempt: Attempt, settings: RewardSettings) -> str:
  """Zeroes or excludes a response that breaks the pattern."""
  return settings.format_failure if attempt.format_error else ""


def proof_term(attempt: Attempt, settings: RewardSettings) -> float:
  """1 for a proof that the checker accepts, else 0."""
  return float(attempt.verdict.proved)


# Each gives "" (the rollout passes), ZERO or EXCLUDE; the first that is not
# passed decides.
GATES = (unverified_gate, truncated_gate, format_gate)

# The reward of a rollout that passes all gates is the sum of these.
TERMS = (proof_term,)


def make_sample(
  rollout: Rollout,
  extraction: Extraction,
  verdict: Verdict,
  settings: RewardSettings,
) -> Sample:
  """Computes the reward of one rollout.

  Args:
    rollout: the response.
    extraction: the response, taken apart.
    verdict: the checker's.
    settings: of the gates.

  Returns:
    The sample; reward None means that it is excluded from its group.
  """
  error = format_error(extraction, min_coverage=settings.min_coverage)
  attempt = Attempt(rollout, extraction, verdict, error)
  reward = _reward(attempt, settings)
  return Sample(rollout, verdict, format_error=error, reward=reward)


def _reward(attempt: Attempt, settings: RewardSettings) -> float | None:
  for gate in GATES:
    outcome = gate(attempt, settings)
    if outcome:
      return None if outcome == EXCLUDE else 0.0
  return sum(term(attempt, settings) for term in TERMS)
