"""Rewards of a group in, advantages out.

The k rollouts of a problem form a group; a rollout's advantage is its reward
minus the group's baseline. Excluded samples (reward None) neither have an
advantage nor touch the group's. Which negative samples are dropped depends on
the seed and on where a rollout began alone, so a resumed run and any layout
drop the same.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from kimina_jax.types import Sample, UsageError

BASELINES = ("mean", "softmax", "leave_one_out", "standardized")

_EPSILON = 1e-6

# Tells this stream of random numbers from others of the same seed and step.
_DROP = 2


def add_advantages(
  samples: Sequence[Sample],
  *,
  num_per_problem: int,
  seed: int,
  tau: float,
  baseline: str,
  length_penalty: bool,
  drop_negative: float,
) -> list[Sample]:
  """Fills in `advantage` and `dropped`, and shapes `reward` if asked to.

  Args:
    samples: in the order in which they began; each run of `num_per_problem`
      is one group.
    num_per_problem: k.
    seed: of the run.
    tau: temperature of the softmax baseline.
    baseline: `mean` of the group, self included; `softmax`, τ log mean
      exp(r/τ) (k1.5, arXiv 2501.12599, §2.3.1); `leave_one_out`, the mean
      of the others (RLOO, arXiv 2402.14740, eq. 8); `standardized`, the
      mean, then divided by the standard deviation (GRPO, arXiv 2402.03300,
      §4.1.2).
    length_penalty: adds k1.5's length reward (§2.3.3) to the rewards first.
    drop_negative: ω, the probability to drop a sample with A < 0.

  Returns:
    New samples in the same order.

  Raises:
    UsageError: an unknown baseline, τ or ω out of range, or samples that do
      not fill their groups.
  """
  _check_options(baseline, tau, drop_negative)
  if len(samples) % num_per_problem:
    raise UsageError(
      f"{len(samples)} samples are not groups of {num_per_problem}"
    )
  judged = []
  for start in range(0, len(samples), num_per_problem):
    group = list(samples[start : start + num_per_problem])
    if length_penalty:
      group = _add_length_reward(group)
    judged += _center(group, baseline, tau)
  return [
    dataclasses.replace(s, dropped=_is_dropped(s, drop_negative, seed))
    for s in judged
  ]


def _check_options(baseline: str, tau: float, drop_negative: float) -> None:
  if baseline not in BASELINES:
    raise UsageError(f"baseline {baseline!r} is none of {', '.join(BASELINES)}")
  if baseline == "softmax" and tau <= 0:
    raise UsageError(f"baseline 'softmax' needs tau > 0, got {tau}")
  if not 0 <= drop_negative <= 1:
    raise UsageError(f"drop_negative {drop_negative} is no probability")


def _center(group: list[Sample], baseline: str, tau: float) -> list[Sample]:
  rewards = [s.reward for s in group if s.reward is not None]
  advantages = iter(_advantages(np.asarray(rewards), baseline, tau))
  return [
    dataclasses.replace(
      s, advantage=0.0 if s.reward is None else float(next(advantages))
    )
    for s in group
  ]


def _advantages(rewards_R: np.ndarray, baseline: str, tau: float) -> np.ndarray:
  count = len(rewards_R)
  if count == 0:
    return rewards_R
  centered_R = rewards_R - rewards_R.mean()
  if baseline == "softmax":
    # The maximum comes out of the exponential, which then cannot overflow.
    top = rewards_R.max()
    mean = np.exp((rewards_R - top) / tau).mean()
    return rewards_R - (top + tau * math.log(mean))
  if baseline == "leave_one_out":
    # r − (Σr − r)/(n − 1) = n/(n − 1) (r − r̄); alone, there is no other.
    return centered_R * count / max(count - 1, 1)
  if baseline == "standardized":
    return centered_R / (rewards_R.std() + _EPSILON)
  return centered_R


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
