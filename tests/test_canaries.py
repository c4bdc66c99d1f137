"""Canaries: they are false, are drawn as often as asked, and are found."""

import collections

import numpy as np
import pytest

from kimina_jax.minilean.environment import Environment, run_source
from kimina_jax.problems.canaries import draw_canaries, find_accepted_canary
from kimina_jax.types import Problem, Prompt, Rollout, Sample, Status, Verdict

HEADER = "import Mathlib\n\n"
ALL = draw_canaries(HEADER, num_problems=1000, share=1.0, seed=0, iteration=0)

# A counterexample of each: its numbers, and whether hypotheses and conclusion
# hold for them.
POINTS = {
  "canary_0": lambda x=3: (x + 2 == 5, x == 4),
  "canary_1": lambda x=4: (3 * x == 12, x == 5),
  "canary_2": lambda x=6, y=4: (x + y == 10 and x - y == 2, x == 5),
  "canary_3": lambda n=7: (2 * n == 14, n == 6),
  "canary_4": lambda n=3: (n >= 3, n * n > 10),
  "canary_5": lambda x=3.0: (2 * x + 1 == 7, x == 2),
  "canary_6": lambda x=0.5: (True, x < x**2 + 0),
  "canary_7": lambda a=1, b=2: (a < b, a + 1 < b),
  "canary_8": lambda a=0, b=3: (a <= b, b - a < b),
  "canary_9": lambda: (True, 17**2 == 279),
  "canary_10": lambda: (True, 2**10 < 1000),
  "canary_11": lambda: (True, 91 % 7 != 0),
  "canary_12": lambda: (True, 100 % 7 == 3),
  "canary_13": lambda x=0.0: (x >= 0, x > 0),
  "canary_14": lambda x=1.0, y=-1.0: (x**2 == y**2, x == y),
  "canary_15": lambda x=-2.0: (x**2 == 4, x == 2),
}


def test_each_has_a_counterexample():
  assert {problem.name for problem in ALL} == POINTS.keys()
  for name, point in POINTS.items():
    hypotheses, conclusion = point()
    assert hypotheses and not conclusion, name


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_the_embedded_checker_proves_none(problem):
  for tactic in ("omega", "norm_num", "linarith", "decide", "simp", "rfl"):
    text = f"{problem.statement} {tactic}"
    diagnostics = run_source(Environment(), text).diagnostics
    assert any(r.severity == "error" for r in diagnostics), (
      problem.name,
      tactic,
    )


def test_share_and_chance():
  counts = collections.Counter()
  for iteration in range(400):
    found = draw_canaries(
      HEADER, num_problems=16, share=0.05, seed=3, iteration=iteration
    )
    assert len(found) in (0, 1)
    counts.update(problem.name for problem in found)
  assert abs(counts.total() / 400 - 0.8) < 0.08
  assert len(counts) > 12
  many = draw_canaries(
    HEADER, num_problems=1000, share=0.005, seed=3, iteration=0
  )
  assert len(many) == 5 == len({problem.name for problem in many})
  assert many == draw_canaries(
    HEADER, num_problems=1000, share=0.005, seed=3, iteration=0
  )
  assert not draw_canaries(
    HEADER, num_problems=16, share=0.0, seed=3, iteration=0
  )


def sample(problem: Problem, status: Status) -> Sample:
  tokens, logps = np.zeros(1, np.int32), np.zeros(1, np.float32)
  prompt = Prompt(problem, "", tokens)
  rollout = Rollout(prompt, 0, tokens, logps, logps, "", "stop")
  return Sample(rollout, Verdict(status))


def test_caught():
  real = Problem("canary_1", HEADER, "theorem canary_1 : 1 = 1 := by")
  quiet = [
    sample(real, Status.PROVED),
    *(sample(problem, Status.LEAN_ERROR) for problem in ALL),
  ]
  assert find_accepted_canary(quiet) is None
  fooled = sample(ALL[3], Status.PROVED)
  assert find_accepted_canary([*quiet, fooled]) is fooled
  disputed = sample(ALL[3], Status.DISPUTED)
  assert find_accepted_canary([*quiet, disputed]) is disputed
