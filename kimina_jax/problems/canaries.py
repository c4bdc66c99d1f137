"""Canaries: false statements among the problems, to detect an unsound checker.

None of them can be proved. So if the checker accepts a proof of one, it is
being fooled, no reward can be trusted, and train.py stops the run. In: a
header, a seed and an iteration. Out: problems whose source is `canary`. They
take the place of a share of the iteration's problems (train.canary_share),
earn no reward and contribute nothing to the gradient, since all rollouts of a
group fail alike; the curriculum does not record them.
"""

from collections.abc import Iterable

import numpy as np

from kimina_jax.types import CANARY, Problem, Sample, Status

# Distinguishes this random stream from others of the same seed and iteration.
_DRAW = 5

# Each is refuted by mental arithmetic. They resemble the problems of
# competitions and, the first ones, the generated problems.
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


def draw_canaries(
  header: str, *, num_problems: int, share: float, seed: int, iteration: int
) -> list[Problem]:
  """Draws the canaries of an iteration: `share` × `num_problems` on average.

  Args:
    header: that of the other problems, so that the canaries look like them.
    num_problems: number of problems of the iteration, canaries included.
    share: from 0 to 1. There are 16 canaries, so 16 / `num_problems` is the
      largest share that has an effect.
    seed: of the run.
    iteration: of the run; with the seed it determines the draw.

  Returns:
    Distinct problems.
  """
  rng = np.random.default_rng([_DRAW, seed, iteration])
  whole, rest = divmod(num_problems * share, 1)
  count = min(int(whole) + int(rng.random() < rest), len(_STATEMENTS))
  chosen = rng.choice(len(_STATEMENTS), count, replace=False)
  return [_canary(header, int(index)) for index in chosen]


def find_accepted_canary(samples: Iterable[Sample]) -> Sample | None:
  """Finds a sample of a canary that the checker accepted, if there is one.

  A disputed proof counts: the checker accepted it first.
  """
  accepted = (Status.PROVED, Status.DISPUTED)
  for sample in samples:
    is_canary = sample.rollout.prompt.problem.is_canary
    if is_canary and sample.verdict.status in accepted:
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
