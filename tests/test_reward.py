"""Rewards of single rollouts."""

import numpy as np
import pytest

from kimina_jax.rewards.reward import RewardSettings, make_sample
from kimina_jax.types import (
  Extraction,
  Problem,
  Prompt,
  Rollout,
  Status,
  UsageError,
  Verdict,
)

GOOD = Extraction(tactics=("a",), final="a")
UNCOVERED = Extraction(tactics=("b",), final="a")
BROKEN = Extraction(error="no </think>")
SETTINGS = {
  "min_coverage": 0.6,
  "format_failure": "zero",
  "truncated": "zero",
}


def rollout(stop: str = "stop") -> Rollout:
  prompt = Prompt(Problem("t", "", "theorem t : p := by"), "", np.zeros(1))
  return Rollout(prompt, 0, np.zeros(3), np.zeros(3), np.zeros(3), "", stop)


def reward(extraction, status, *, stop="stop", **choices):
  settings = RewardSettings(**{**SETTINGS, **choices})
  return make_sample(
    rollout(stop), extraction, Verdict(status), settings
  ).reward


@pytest.mark.parametrize("status", list(Status))
def test_only_a_proof_is_rewarded(status):
  expected = {
    Status.PROVED: 1.0,
    Status.INFRA_ERROR: None,
    Status.DISPUTED: None,
  }
  assert reward(GOOD, status) == expected.get(status, 0.0)


def test_format_failure():
  for extraction in (UNCOVERED, BROKEN):
    assert reward(extraction, Status.PROVED) == 0.0
    excluded = reward(extraction, Status.PROVED, format_failure="exclude")
    assert excluded is None
  assert reward(GOOD, Status.PROVED, format_failure="exclude") == 1.0


def test_truncated():
  assert reward(BROKEN, Status.MALFORMED, stop="length") == 0.0
  cut = reward(BROKEN, Status.MALFORMED, stop="length", truncated="exclude")
  assert cut is None
  assert reward(GOOD, Status.LEAN_ERROR, truncated="exclude") == 0.0
  assert reward(GOOD, Status.PROVED, stop="repetition") == 0.0
  circles = {"stop": "repetition", "truncated": "exclude"}
  assert reward(GOOD, Status.LEAN_ERROR, **circles) is None


def test_infrastructure_is_never_the_policys_fault():
  for stop in ("stop", "length"):
    assert reward(BROKEN, Status.INFRA_ERROR, stop=stop) is None


def test_sample_says_why():
  sample = make_sample(
    rollout(),
    BROKEN,
    Verdict(Status.MALFORMED),
    RewardSettings(**SETTINGS),
  )
  assert sample.format_error == "no </think>"
  assert (sample.advantage, sample.dropped) == (0.0, False)


def test_unknown_choice():
  with pytest.raises(UsageError, match="truncated is 'mask'; choose 'zero' or"):
    reward(GOOD, Status.PROVED, truncated="mask")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_coverage_is_a_share(share):
  with pytest.raises(UsageError, match="reward.min_coverage"):
    RewardSettings(**{**SETTINGS, "min_coverage": share})
