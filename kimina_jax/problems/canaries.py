"""False statements that are posed among the true ones.

Nobody can prove them, so one that the checker accepts shows that the checker
is being fooled, and with it every reward (see train.py, which stops). In: a
header, a seed and a step. Out: problems of the source `canary`. They earn no
reward and teach nothing, since all attempts at one are alike.
"""

from collections.abc import Iterable

import numpy as np

from kimina_jax.types import CANARY, Problem, Sample

# Tells this stream of random numbers from others of the same seed and step.
_DRAW = 5

# Each is refuted by arithmetic that a reader does in his head. They look like
# the problems of competitions and, the first ones, like the generated ones.
_STATEMENTS = (
  "(x : ℤ) (h : x + 2 = 5) : x = 4",
  "(x : ℤ) (h : 3 * x = 12) : x = 5",
  "(x y : ℤ) (h₀ : x + y = 10) (h₁ : x - y = 2) : x = 5",
  "(n : ℕ) (h : 2 * n = 14) : n = 6",
  "(n : ℕ) (h : 3 ≤ n) : 10 < n * n",
  "(x : ℝ) (h : 2 * x + 1 = 7) : x = 2",
  "(x : ℝ) : x < x ^ 2 + 0",
  "(a b : ℤ) (h : a < b) : a + 1 < b",
  "(a b : ℕ) (h : a ≤ b) : b - a < b",
  ": (17 : ℕ) ^ 2 = 279",
  ": (2 : ℤ) ^ 10 < 1000",
  ": ¬ (7 : ℕ) ∣ 91",
  ": (100 : ℕ) % 7 = 3",
  "(x : ℝ) (h : 0 ≤ x) : 0 < x",
  "(x y : ℝ) (h : x ^ 2 = y ^ 2) : x = y",
  "(x : ℝ) (h : x ^ 2 = 4) : x = 2",
)


def canaries(
  header: str, *, num_problems: int, share: float, seed: int, step: int
) -> list[Problem]:
  """The canaries of an iteration, `share` × `num_problems` of them on average.

  Args:
    header: of the problems among which they are to pass.
    num_problems: of the iteration, these included.
    share: from 0 to 1.
    seed: of the run.
    step: iteration; with the seed it decides which they are.

  Returns:
    Problems, no two of them the same.
  """
  rng = np.random.default_rng([_DRAW, seed, step])
  whole, rest = divmod(num_problems * share, 1)
  count = min(int(whole) + int(rng.random() < rest), len(_STATEMENTS))
  chosen = rng.choice(len(_STATEMENTS), count, replace=False)
  return [_canary(header, int(index)) for index in chosen]


def caught(samples: Iterable[Sample]) -> Sample | None:
  """A canary that the checker calls proved; there should be none."""
  for sample in samples:
    if sample.rollout.prompt.problem.is_canary and sample.verdict.proved:
      return sample
  return None


def _canary(header: str, index: int) -> Problem:
  name = f"canary_{index}"
  binders = _STATEMENTS[index]
  return Problem(
    name,
    header,
    f"theorem {name} {binders} := by",
    split="train",
    source=CANARY,
  )
