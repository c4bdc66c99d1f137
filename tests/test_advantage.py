"""Advantages of groups, computed by hand."""

import math

import numpy as np
import pytest

from kimina_jax.rewards.advantage import AdvantageSettings, add_advantages
from kimina_jax.types import (
  Problem,
  Prompt,
  Rollout,
  Sample,
  Status,
  UsageError,
  Verdict,
)

PROMPT = Prompt(Problem("t", "", "theorem t : p := by"), "", np.zeros(1))


def make(rewards, lengths=None, *, iteration=0):
  lengths = lengths or [3] * len(rewards)
  return [
    Sample(
      Rollout(
        PROMPT,
        row,
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        "",
        "stop",
        iteration=iteration,
      ),
      Verdict(Status.PROVED if reward else Status.LEAN_ERROR),
      reward=reward,
    )
    for row, (reward, n) in enumerate(zip(rewards, lengths, strict=True))
  ]


def run(samples, k, **changes):
  options = {"baseline": "mean", "length_penalty": False, "drop_negative": 0.0}
  options |= {"seed": 0, "tau": 0.4, **changes}
  seed, tau = options.pop("seed"), options.pop("tau")
  settings = AdvantageSettings(**options)
  return add_advantages(
    samples, settings, num_per_problem=k, seed=seed, tau=tau
  )


def advantages(rewards, k, **changes):
  return [s.advantage for s in run(make(rewards), k, **changes)]


def test_mean():
  assert advantages([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], 4) == [
    0.75,
    -0.25,
    -0.25,
    -0.25,
    0.0,
    0.0,
    0.0,
    0.0,
  ]


def test_excluded_samples_leave_the_group():
  assert advantages([1.0, None, 0.0, None], 4) == [0.5, 0.0, -0.5, 0.0]
  assert advantages([None, None], 2) == [0.0, 0.0]


def test_softmax():
  # τ log((e^{1/τ} + 1) / 2) with τ = 0.4.
  base = 0.4 * math.log((math.exp(2.5) + 1) / 2)
  found = advantages([1.0, 0.0], 2, baseline="softmax")
  assert found == pytest.approx([1 - base, -base])
  # A large τ gives the mean, a small one the maximum, without overflow.
  assert advantages(
    [1.0, 0.0], 2, baseline="softmax", tau=1e6
  ) == pytest.approx([0.5, -0.5], abs=1e-6)
  assert advantages(
    [1.0, 0.0], 2, baseline="softmax", tau=1e-4
  ) == pytest.approx([0.0, -1.0], abs=1e-3)


def test_leave_one_out():
  found = advantages([1.0, 0.0, 0.0, None], 4, baseline="leave_one_out")
  assert found == pytest.approx([1.0, -0.5, -0.5, 0.0])
  assert advantages([1.0, None], 2, baseline="leave_one_out") == [0.0, 0.0]


def test_standardized():
  # Mean 1/4, standard deviation √3/4.
  found = advantages([1.0, 0.0, 0.0, 0.0], 4, baseline="standardized")
  root = math.sqrt(3)
  assert found == pytest.approx([root] + [-1 / root] * 3, rel=1e-5)
  assert advantages([1.0, 1.0], 2, baseline="standardized") == [0.0, 0.0]


def test_length_reward():
  # λ = 0.5, 0.25, -0.5; the wrong answers get min(0, λ).
  samples = make([1.0, 0.0, 0.0, None], [10, 15, 30, 99])
  judged = run(samples, 4, length_penalty=True)
  assert [s.reward for s in judged] == [1.5, 0.0, -0.5, None]
  mean = 1 / 3
  assert [s.advantage for s in judged] == pytest.approx(
    [1.5 - mean, -mean, -0.5 - mean, 0.0]
  )
  right = run(make([1.0, 1.0, 1.0], [10, 15, 30]), 3, length_penalty=True)
  assert [s.reward for s in right] == [1.5, 1.25, 0.5]
  same = run(make([1.0, 0.0], [7, 7]), 2, length_penalty=True)
  assert [s.reward for s in same] == [1.0, 0.0]


def test_drops_only_negative_samples_at_the_rate_asked_for():
  rewards = [1.0, 0.0, 0.0, 0.0] * 500
  judged = run(make(rewards), 4, drop_negative=0.5)
  assert not any(s.dropped for s in judged if s.advantage >= 0)
  share = np.mean([s.dropped for s in judged if s.advantage < 0])
  # Four standard deviations of 1500 fair coins.
  assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(1500)
  # A dropped sample still counts in the baseline.
  assert {s.advantage for s in judged} == {0.75, -0.25}
  everything = run(make(rewards), 4, drop_negative=1.0)
  assert all(s.dropped == (s.advantage < 0) for s in everything)


def test_drops_depend_on_the_seed_and_the_beginning_alone():
  def drops(samples, **changes):
    judged = run(samples, 4, drop_negative=0.5, **changes)
    return {s.rollout.index: s.dropped for s in judged}

  samples = make([1.0, 0.0, 0.0, 0.0] * 50)
  whole = drops(samples)
  halves = drops(samples[:100]) | drops(samples[100:])
  assert halves == whole
  assert drops(make([1.0, 0.0, 0.0, 0.0] * 50, iteration=1)) != whole
  assert drops(samples, seed=1) != whole


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"baseline": "median"}, "baseline is 'median'; choose one of mean"),
    ({"baseline": "softmax", "tau": 0.0}, "tau > 0"),
    ({"drop_negative": 1.5}, "drop_negative is 1.5; choose a probability"),
  ],
)
def test_bad_options(changes, words):
  with pytest.raises(UsageError, match=words):
    advantages([1.0, 0.0], 2, **changes)


def test_incomplete_group():
  with pytest.raises(UsageError, match="3 samples are not groups of 2"):
    advantages([1.0, 0.0, 0.0], 2)
