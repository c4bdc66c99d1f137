"""Advantages of rollouts, from the rewards of their groups.

The k rollouts of a problem form a group; a rollout's advantage is its reward
minus the group's baseline. A sample without a reward (None) has advantage 0
and does not count in the group's baseline. Which negative samples are dropped
depends only on the seed and on where a rollout began, so that a resumed run
and any layout drop the same ones. To add a baseline, write a function and add
a line to BASELINES.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from kimina_jax.types import Sample, UsageError, check_numbers, require

_EPSILON = 1e-6

# Distinguishes this random stream from others of the same seed and iteration.
_DROP = 2


def mean(rewards_B: np.ndarray, tau: float) -> np.ndarray:
  """Subtracts the group's mean, the sample itself included."""
  return rewards_B - rewards_B.mean()


def softmax(rewards_B: np.ndarray, tau: float) -> np.ndarray:
  """Subtracts τ log mean exp(r/τ) (k1.5, arXiv 2501.12599, §2.3.1)."""
  # The maximum comes out of the exponential, which then cannot overflow.
  top = rewards_B.max()
  average = np.exp((rewards_B - top) / tau).mean()
  return rewards_B - (top + tau * math.log(average))


def leave_one_out(rewards_B: np.ndarray, tau: float) -> np.ndarray:
  """Subtracts the mean of the others (RLOO, arXiv 2402.14740, eq. 8).

  r − (Σr − r)/(n − 1) = n/(n − 1) (r − r̄); 0 for a group of one.
  """
  count = len(rewards_B)
  return (rewards_B - rewards_B.mean()) * count / max(count - 1, 1)


def standardized(rewards_B: np.ndarray, tau: float) -> np.ndarray:
  """Subtracts the mean, divides by the standard deviation.

  (GRPO, arXiv 2402.03300, §4.1.2.)
  """
  return (rewards_B - rewards_B.mean()) / (rewards_B.std() + _EPSILON)


# Each takes a group's rewards [B], at least one, and τ; it gives their
# advantages [B].
BASELINES = {
  "mean": mean,
  "softmax": softmax,
  "leave_one_out": leave_one_out,
  "standardized": standardized,
}


@dataclasses.dataclass(frozen=True)
class AdvantageSettings:
  """The config's `advantage` section.

  Attributes:
    baseline: of BASELINES.
    length_penalty: whether k1.5's length reward (arXiv 2501.12599, §2.3.3) is
      added to the rewards first.
    drop_negative: ω, the probability that a sample with A < 0 is dropped from
      the loss.
  """

  baseline: str
  length_penalty: bool
  drop_negative: float

  def __post_init__(self):
    check_numbers("advantage", self)
    require(
      self.baseline in BASELINES,
      "advantage.baseline",
      repr(self.baseline),
      f"choose one of {', '.join(BASELINES)}",
    )
    require(
      self.drop_negative <= 1,
      "advantage.drop_negative",
      self.drop_negative,
      "choose a probability, from 0 to 1",
    )


def check_tau(settings: AdvantageSettings, tau: float) -> None:
  """Raises UsageError if the baseline cannot work with this τ (loss.tau)."""
  if settings.baseline == "softmax" and tau <= 0:
    raise UsageError(
      f"advantage.baseline 'softmax' needs loss.tau > 0, got {tau}"
    )


def add_advantages(
  samples: Sequence[Sample],
  settings: AdvantageSettings,
  *,
  num_per_problem: int,
  seed: int,
  tau: float,
) -> list[Sample]:
  """Fills in `advantage` and `dropped`, and shapes `reward` if asked to.

  Args:
    samples: in the order in which they began; each run of `num_per_problem`
      is one group.
    settings: baseline, length reward, dropping.
    num_per_problem: k.
    seed: of the run.
    tau: temperature of the softmax baseline.

  Returns:
    New samples in the same order.

  Raises:
    UsageError: τ is not positive for the softmax baseline, or samples that do
      not fill their groups.
  """
  check_tau(settings, tau)
  if len(samples) % num_per_problem:
    raise UsageError(
      f"{len(samples)} samples are not groups of {num_per_problem}"
    )
  judged: list[Sample] = []
  for start in range(0, len(samples), num_per_problem):
    group = list(samples[start : start + num_per_problem])
    if settings.length_penalty:
      group = _add_length_reward(group)
    judged += _subtract_baseline(group, settings.baseline, tau)
  return [
    dataclasses.replace(
      sample, dropped=_is_dropped(sample, settings.drop_negative, seed)
    )
    for sample in judged
  ]


def _subtract_baseline(
  group: Sequence[Sample], baseline: str, tau: float
) -> list[Sample]:
  rewards = [s.reward for s in group if s.reward is not None]
  if not rewards:
    return [dataclasses.replace(s, advantage=0.0) for s in group]
  advantages = iter(BASELINES[baseline](np.asarray(rewards), tau))
  return [
    dataclasses.replace(
      s, advantage=0.0 if s.reward is None else float(next(advantages))
    )
    for s in group
  ]


def _add_length_reward(group: list[Sample]) -> list[Sample]:
  """λ = 0.5 − (len − min)/(max − min); λ if correct, min(0, λ) if not."""
  lengths = [len(s.rollout.tokens) for s in group if s.reward is not None]
  if not lengths or min(lengths) == max(lengths):
    return group
  shaped = []
  for sample in group:
    if sample.reward is None:
      shaped.append(sample)
      continue
    excess = len(sample.rollout.tokens) - min(lengths)
    bonus = 0.5 - excess / (max(lengths) - min(lengths))
    bonus = bonus if sample.reward > 0 else min(0.0, bonus)
    shaped.append(dataclasses.replace(sample, reward=sample.reward + bonus))
  return shaped


def _is_dropped(sample: Sample, probability: float, seed: int) -> bool:
  if sample.reward is None or sample.advantage >= 0:
    return False
  rollout = sample.rollout
  rng = np.random.default_rng([_DROP, seed, rollout.iteration, rollout.index])
  return bool(rng.random() < probability)
