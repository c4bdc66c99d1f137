"""Metrics of an iteration, against counts by hand."""

import numpy as np
import pytest

from kimina_jax.rewards.summary import disputed, sample_metrics, solve_counts
from kimina_jax.types import Problem, Prompt, Rollout, Sample, Status, Verdict


def sample(
  name, status, reward, *, length=3, stop="stop", iteration=0, source="", **more
):
  tokens = np.zeros(length, np.int32)
  logps = np.zeros(length, np.float32)
  prompt = Prompt(Problem(name, "", "", source=source), "", tokens)
  rollout = Rollout(prompt, 0, tokens, logps, logps, "", stop, iteration)
  return Sample(rollout, Verdict(status), reward=reward, **more)


SAMPLES = [
  sample("a", Status.PROVED, 1.0, length=2),
  sample("a", Status.LEAN_ERROR, 0.0, length=4),
  sample("b", Status.PROVED, 1.0, length=2),
  sample("b", Status.PROVED, 1.0, length=4),
  sample("c", Status.TIMEOUT, 0.0, length=9, stop="length", dropped=True),
  sample("c", Status.INFRA_ERROR, None, length=5, stop="repetition"),
  sample("d", Status.PROVED, 0.0, length=1, format_error="no tactics block"),
  sample("d", Status.LEAN_ERROR, 0.0, length=5),
]


def test_shares_and_means():
  found = sample_metrics(SAMPLES)
  assert found["reward/mean"] == pytest.approx(3 / 7)  # one is excluded
  assert found["reward/proved"] == 4 / 8
  assert found["reward/excluded"] == 1 / 8
  assert found["reward/dropped"] == 1 / 8
  assert found["group/all_1"] == 1 / 4  # b
  assert found["group/mixed"] == 1 / 4  # a
  assert found["group/all_0"] == 2 / 4  # c, d
  assert found["format/failed"] == 1 / 8
  assert found["response/len_mean"] == pytest.approx(32 / 8)
  assert found["response/len_right"] == pytest.approx(9 / 4)
  assert found["response/len_wrong"] == pytest.approx(23 / 4)
  assert found["response/truncated"] == 1 / 8
  assert found["response/repetition"] == 1 / 8
  verdicts = {k: v for k, v in found.items() if k.startswith("verdict/")}
  assert verdicts == {
    "verdict/proved": 4 / 8,
    "verdict/lean_error": 2 / 8,
    "verdict/timeout": 1 / 8,
    "verdict/infra_error": 1 / 8,
  }


def test_a_mean_over_nothing_is_left_out():
  found = sample_metrics([sample("a", Status.INFRA_ERROR, None)])
  assert "reward/mean" not in found
  assert "response/len_right" not in found
  assert found["reward/excluded"] == 1


def test_groups_of_one_problem_from_two_iterations_are_two():
  found = sample_metrics(
    [
      sample("a", Status.PROVED, 1.0, iteration=1),
      sample("a", Status.PROVED, 1.0, iteration=1),
      sample("a", Status.LEAN_ERROR, 0.0, iteration=2),
      sample("a", Status.LEAN_ERROR, 0.0, iteration=2),
    ]
  )
  assert (found["group/all_0"], found["group/all_1"]) == (0.5, 0.5)


def test_no_samples_are_no_numbers():
  assert sample_metrics([]) == {}


def test_the_curriculum_counts_proofs_in_the_pattern():
  """No reward: not solved. An infrastructure error: no attempt."""
  assert solve_counts(SAMPLES) == {
    "a": (1, 2),
    "b": (2, 2),
    "c": (0, 1),
    "d": (0, 2),
  }


def test_canaries_are_counted_and_teach_no_solve_rate():
  samples = [
    *SAMPLES,
    sample("e", Status.LEAN_ERROR, 0.0, source="canary"),
    sample("e", Status.PROVED, 1.0, source="canary"),
  ]
  found = sample_metrics(samples)
  assert (found["canary/tried"], found["canary/proved"]) == (2, 1)
  assert sample_metrics(SAMPLES)["canary/tried"] == 0
  assert solve_counts(samples) == solve_counts(SAMPLES)


def test_disputed_problems():
  more = [
    sample("b", Status.DISPUTED, None),
    sample("f", Status.DISPUTED, None),
  ]
  assert disputed([*SAMPLES, *more]) == {"b", "f"}
  canary = sample("canary_3", Status.DISPUTED, None, source="canary")
  assert disputed([*SAMPLES, *more, canary]) == {"b", "f"}
  assert disputed(SAMPLES) == set()
