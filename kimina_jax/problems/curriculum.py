"""Curriculum: draws the problems of each iteration by their solve rates.

In: the problems, and after each iteration how many rollouts of each were
right. Out: the problems of the next iteration, preferably those that are
solved least often. A draw is a function of the seed, the iteration and the
recorded solve counts only, so that a resumed run draws what the uninterrupted
one would have drawn.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kimina_jax.types import Problem, UsageError, check_numbers

# Distinguishes this random stream from others of the same seed and iteration.
_DRAW = 3


@dataclasses.dataclass(frozen=True)
class CurriculumSettings:
  """The config's `curriculum` section.

  Attributes:
    prioritized: whether problems are drawn by solve rate; else uniformly.
    prune_after: number of visits in a row with every rollout right, after
      which a problem is pruned, that is, no longer drawn; 0 prunes none.
  """

  prioritized: bool
  prune_after: int

  def __post_init__(self):
    check_numbers("curriculum", self)


@dataclasses.dataclass
class _SolveRecord:
  """The solve history of one problem.

  Attributes:
    solved: right rollouts; each visit halves the weight of those before it,
      since an older policy made them.
    attempts: rollouts, weighted alike.
    streak: number of visits in a row, up to the last, on which every rollout
      was right.
    disputed: whether verifiers disagree on a proof of it.
  """

  solved: float = 0.0
  attempts: float = 0.0
  streak: int = 0
  disputed: bool = False


class Curriculum:
  """Draws problems by their solve rates, and prunes the mastered ones.

  A problem is drawn with probability ∝ 1 − solved / (attempts + 1) (Kimi
  k1.5, arXiv 2501.12599, §2.3, prioritized sampling). The added attempt makes
  an untried problem as likely as one that was never solved, and keeps the
  probability of a solved one positive.
  """

  def __init__(
    self,
    problems: Sequence[Problem],
    settings: CurriculumSettings,
    *,
    seed: int,
  ):
    """Starts without any solve counts.

    Args:
      problems: names must differ.
      settings: how to draw and when to prune.
      seed: of the draws.

    Raises:
      UsageError: no problems, or two of one name.
    """
    self._problems = list(problems)
    self._records = {p.name: _SolveRecord() for p in self._problems}
    if not self._problems:
      raise UsageError("there are no problems to draw from")
    if len(self._records) < len(self._problems):
      raise UsageError("two problems have the same name; names must differ")
    self._settings = settings
    self._seed = seed
    self._last_iteration = -1

  @property
  def num_pruned(self) -> int:
    """Number of problems that are no longer drawn, disputed ones included."""
    return int(len(self._problems) - self._active().sum())

  def draw(self, iteration: int, count: int) -> list[Problem]:
    """Draws the problems of an iteration.

    No problem is drawn twice, unless `count` exceeds their number: then each
    is drawn as often as any other, give or take once. When all problems are
    pruned, draws are uniform over those that are not disputed.
    """
    active_I = self._active()
    if not active_I.any():
      undisputed_I = self._undisputed()
      weights_I = (undisputed_I if undisputed_I.any() else ~active_I) * 1.0
    elif self._settings.prioritized:
      weights_I = active_I * self._weights()
    else:
      weights_I = active_I.astype(float)
    rng = np.random.default_rng([_DRAW, self._seed, iteration])
    candidates = np.flatnonzero(weights_I)
    num_rounds, num_rest = divmod(count, len(candidates))
    rounds = [rng.permutation(candidates) for _ in range(num_rounds)]
    rest = rng.choice(
      len(weights_I), num_rest, replace=False, p=weights_I / weights_I.sum()
    )
    return [self._problems[i] for i in np.concatenate([*rounds, rest])]

  def record(
    self,
    iteration: int,
    solve_counts: Mapping[str, tuple[int, int]],
    *,
    disputed: Iterable[str] = (),
  ) -> None:
    """Records the solve counts of an iteration.

    Args:
      iteration: later than the last one recorded.
      solve_counts: problem name -> (rollouts that were right, rollouts
        judged); a problem without judged rollouts counts as not visited.
      disputed: names of problems on whose proof verifiers disagree; they are
        drawn no more.

    Raises:
      ValueError: an iteration that is recorded already, or inconsistent
        counts.
    """
    if iteration <= self._last_iteration:
      raise ValueError(
        f"solve counts of iteration {iteration} come after those of iteration "
        f"{self._last_iteration}"
      )
    self._last_iteration = iteration
    for name in disputed:
      self._records[name].disputed = True
    for name, (solved, attempts) in solve_counts.items():
      if not 0 <= solved <= attempts:
        raise ValueError(f"{name}: {solved} right of {attempts}")
      if not attempts:
        continue
      record = self._records[name]
      record.solved = record.solved / 2 + solved
      record.attempts = record.attempts / 2 + attempts
      record.streak = record.streak + 1 if solved == attempts else 0

  def state(self) -> dict:
    """Returns everything recorded, as JSON.

    Example (solved, attempts, streak, disputed):
      {"last_iteration": 3, "records": {"linear_int_12": [4.5, 12.0, 0, False]}}
    """
    records = {
      name: [record.solved, record.attempts, record.streak, record.disputed]
      for name, record in self._records.items()
      if record.attempts or record.disputed
    }
    return {"last_iteration": self._last_iteration, "records": records}

  def restore(self, state: dict) -> None:
    """Restores what `state` gave for the same problems.

    Raises:
      UsageError: the state has problems that this curriculum lacks.
    """
    records = state["records"]
    unknown = [name for name in records if name not in self._records]
    if unknown:
      raise UsageError(
        f"the saved curriculum has {len(unknown)} problems that this run "
        f"does not have, {unknown[0]!r} for one; use the same problems"
      )
    self._records = {p.name: _SolveRecord() for p in self._problems}
    for name, values in records.items():
      self._records[name] = _SolveRecord(*values)
    # Checkpoints of older versions call it `last_step`.
    last = "last_iteration" if "last_iteration" in state else "last_step"
    self._last_iteration = state[last]

  def _active(self) -> np.ndarray:
    """bool [I]: neither pruned nor disputed."""
    prune_after = self._settings.prune_after
    if not prune_after:
      return self._undisputed()
    streaks_I = np.array([r.streak for r in self._records.values()])
    return self._undisputed() & (streaks_I < prune_after)

  def _undisputed(self) -> np.ndarray:
    """bool [I]: no verifiers disagree on a proof of it."""
    return ~np.array([r.disputed for r in self._records.values()])

  def _weights(self) -> np.ndarray:
    """float64 [I]: unnormalized probabilities of a draw."""
    records = self._records.values()
    solved_I = np.array([r.solved for r in records])
    attempts_I = np.array([r.attempts for r in records])
    return 1 - solved_I / (attempts_I + 1)
