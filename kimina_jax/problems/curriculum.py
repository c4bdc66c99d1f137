"""Which problems to train on next.

In: the problems, and how many rollouts of each were right. Out: the next
problems, those that are solved least often first. Never draws by anything but
the seed, the step and the outcomes recorded, so that a resumed run goes on as
if it had not stopped.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kimina_jax.types import Problem, UsageError


@dataclasses.dataclass
class _Record:
  """What is known of one problem.

  Attributes:
    solved: right rollouts; each visit halves the weight of those before it,
      since they were made by an older policy.
    attempts: rollouts, weighted alike.
    streak: visits in a row, up to the last, on which every rollout was right.
    frozen: whether verifiers disagree on it.
  """

  solved: float = 0.0
  attempts: float = 0.0
  streak: int = 0
  frozen: bool = False


# Tells this stream of random numbers from others of the same seed and step.
_DRAW = 3


class Curriculum:
  """Draws problems by their solve rates, and retires the mastered ones.

  A problem is drawn with probability ∝ 1 − solved / (attempts + 1) (Kimi
  k1.5, arXiv 2501.12599, §2.3, prioritized sampling). The imagined failure
  makes an untried problem as likely as one that was never solved, and keeps a
  solved one from vanishing.
  """

  def __init__(
    self,
    problems: Sequence[Problem],
    *,
    seed: int,
    prioritized: bool,
    prune_after: int,
  ):
    """Starts with no outcomes.

    Args:
      problems: names must differ.
      seed: of the draws.
      prioritized: draw by solve rate; else uniformly.
      prune_after: visits in a row with every rollout right, after which a
        problem is drawn no more; 0 never.

    Raises:
      UsageError: no problems, two of one name, or a negative `prune_after`.
    """
    self._problems = list(problems)
    self._records = {p.name: _Record() for p in self._problems}
    if not self._problems:
      raise UsageError("there are no problems to draw from")
    if len(self._records) < len(self._problems):
      raise UsageError("two problems have the same name; names must differ")
    if prune_after < 0:
      raise UsageError(f"prune_after={prune_after} is negative; 0 never prunes")
    self._seed = seed
    self._prioritized = prioritized
    self._prune_after = prune_after
    self._last_step = -1

  @property
  def exhausted(self) -> bool:
    """Whether every problem is retired; then draws are uniform over those that
    are not frozen."""
    return not self._active().any()

  @property
  def num_pruned(self) -> int:
    """Problems that are drawn no more."""
    return int(len(self._problems) - self._active().sum())

  def draw(self, step: int, count: int) -> list[Problem]:
    """The problems of an iteration: a function of seed, step and outcomes.

    No problem comes twice, unless more are asked for than there are: then
    each comes as often as the next, give or take one.
    """
    active = self._active()
    if not active.any():
      weights = (self._thawed() if self._thawed().any() else ~active) * 1.0
    elif self._prioritized:
      weights = active * self._weights()
    else:
      weights = active.astype(float)
    rng = np.random.default_rng([_DRAW, self._seed, step])
    candidates = np.flatnonzero(weights)
    num_rounds, num_rest = divmod(count, len(candidates))
    rounds = [rng.permutation(candidates) for _ in range(num_rounds)]
    rest = rng.choice(
      len(weights), num_rest, replace=False, p=weights / weights.sum()
    )
    return [self._problems[i] for i in np.concatenate([*rounds, rest])]

  def record(
    self,
    step: int,
    outcomes: Mapping[str, tuple[int, int]],
    *,
    disputed: Iterable[str] = (),
  ) -> None:
    """Takes in an iteration's outcomes.

    Args:
      step: of the iteration; later than the last one recorded.
      outcomes: problem name -> (rollouts that were right, rollouts judged);
        a problem none of whose rollouts could be judged counts as not visited.
      disputed: problems that are drawn no more, for verifiers disagree on them.

    Raises:
      ValueError: outcomes of this step are in already, or counts make no
        sense.
    """
    if step <= self._last_step:
      raise ValueError(
        f"outcomes of step {step} come after those of step {self._last_step}"
      )
    self._last_step = step
    for name in disputed:
      self._records[name].frozen = True
    for name, (solved, attempts) in outcomes.items():
      if not 0 <= solved <= attempts:
        raise ValueError(f"{name}: {solved} right of {attempts}")
      if not attempts:
        continue
      record = self._records[name]
      record.solved = record.solved / 2 + solved
      record.attempts = record.attempts / 2 + attempts
      record.streak = record.streak + 1 if solved == attempts else 0

  def state(self) -> dict:
    """Everything recorded, as JSON.

    Example:
      {"last_step": 3, "records": {"numeric_nat_12": [4.5, 12.0, 0, False]}}
    """
    records = {
      name: [record.solved, record.attempts, record.streak, record.frozen]
      for name, record in self._records.items()
      if record.attempts or record.frozen
    }
    return {"last_step": self._last_step, "records": records}

  def restore(self, state: dict) -> None:
    """Goes back to a `state`, of the same problems.

    Raises:
      UsageError: the state speaks of problems that are not here.
    """
    records = state["records"]
    unknown = [name for name in records if name not in self._records]
    if unknown:
      raise UsageError(
        f"the saved curriculum knows {len(unknown)} problems that this run "
        f"does not have, {unknown[0]!r} for one; use the same problems"
      )
    self._records = {p.name: _Record() for p in self._problems}
    for name, values in records.items():
      self._records[name] = _Record(*values)
    self._last_step = state["last_step"]

  def _active(self) -> np.ndarray:
    """bool [num problems]: not retired."""
    streaks = np.array([r.streak for r in self._records.values()])
    if not self._prune_after:
      return self._thawed()
    return self._thawed() & (streaks < self._prune_after)

  def _thawed(self) -> np.ndarray:
    """bool [num problems]: verifiers do not disagree on it."""
    return ~np.array([r.frozen for r in self._records.values()])

  def _weights(self) -> np.ndarray:
    records = self._records.values()
    solved = np.array([r.solved for r in records])
    attempts = np.array([r.attempts for r in records])
    return 1 - solved / (attempts + 1)
