"""The settings of the loops: one frozen record per section of the config.

A record has the fields of its section of configs/common.py and no defaults of
its own; it checks each of its numbers when it is made. What several sections
must agree on, and what depends on the machine, validate.py checks.
"""

import dataclasses
from collections.abc import Sequence

from kimina_jax.types import check_numbers, require


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """Reinforcement learning: the `train` section.

  Attributes:
    num_iterations: iterations of the run.
    num_problems: problems in flight in each iteration.
    num_per_problem: k, rollouts of each problem.
    canary_share: share of false statements among the problems, from 0 to 1.
    num_minibatches: optimizer updates per iteration.
    sequence_len: T, tokens of a packed row.
    rows_per_batch: B, packed rows of a batch.
    tokens_per_iteration: tokens after which an iteration stops sampling and
      leaves the unfinished rollouts to the next one; 0 is no limit.
    learn_from_carried: whether the tokens that earlier iterations sampled
      count in the loss.
  """

  num_iterations: int
  num_problems: int
  num_per_problem: int
  canary_share: float
  num_minibatches: int
  sequence_len: int
  rows_per_batch: int
  tokens_per_iteration: int
  learn_from_carried: bool

  def __post_init__(self):
    counts = ("num_iterations", "num_problems", "num_per_problem")
    counts += ("num_minibatches", "sequence_len", "rows_per_batch")
    check_numbers("train", self, counts=counts)
    require(
      self.canary_share <= 1,
      "train.canary_share",
      self.canary_share,
      "choose a share of the problems, from 0 to 1",
    )


@dataclasses.dataclass(frozen=True)
class SftSettings:
  """Supervised training: the `sft` section.

  Attributes:
    sources: (source, weight) pairs; see configs/common.py.
    confirmed_only: of a run's rollouts, use only the proofs that the second
      verifier confirmed.
    num_examples: demonstrations per epoch.
    num_epochs: passes over them.
    rows_per_batch: B, packed rows of a batch.
    sequence_len: T, tokens of a packed row.
    learning_rate: peak of the cosine schedule.
    warmup_fraction: share of the updates in which the rate rises.
    weight_decay: of AdamW; 0 is off.
    save_every: updates between checkpoints.
    log_every: updates between rows of metrics.
    skill: probability that a generated demonstration is a right proof.
  """

  sources: Sequence[tuple[str, float]]
  confirmed_only: bool
  num_examples: int
  num_epochs: int
  rows_per_batch: int
  sequence_len: int
  learning_rate: float
  warmup_fraction: float
  weight_decay: float
  save_every: int
  log_every: int
  skill: float

  def __post_init__(self):
    counts = ("num_examples", "num_epochs", "rows_per_batch", "sequence_len")
    check_numbers("sft", self, counts=(*counts, "save_every", "log_every"))
    for name in ("warmup_fraction", "skill"):
      value = getattr(self, name)
      require(value <= 1, f"sft.{name}", value, "choose a share from 0 to 1")
    require(
      _are_weighted(self.sources),
      "sft.sources",
      self.sources,
      "give (source, weight) pairs with positive weights, as in "
      "(('arithmetic', 1.0),)",
    )


@dataclasses.dataclass(frozen=True)
class EvalSettings:
  """Evaluation: the `eval` section.

  Attributes:
    every: iterations between the evaluations of a training run; 0 is never.
    num_samples: n, rollouts of each problem.
    ks: the k of each pass@k that is reported, each at most n.
  """

  every: int
  num_samples: int
  ks: Sequence[int]

  def __post_init__(self):
    check_numbers("eval", self, counts=("num_samples",))
    are_counts = isinstance(self.ks, Sequence) and all(
      isinstance(k, int) and 1 <= k <= self.num_samples for k in self.ks
    )
    require(
      are_counts and len(self.ks) > 0,
      "eval.ks",
      self.ks,
      f"give numbers from 1 to eval.num_samples = {self.num_samples}, as in "
      f"(1, {self.num_samples})",
    )


def _are_weighted(sources: object) -> bool:
  """Whether these are (source, weight) pairs with positive weights."""
  if not isinstance(sources, Sequence) or isinstance(sources, str):
    return False
  return len(sources) > 0 and all(
    isinstance(pair, Sequence)
    and len(pair) == 2
    and isinstance(pair[0], str)
    and isinstance(pair[1], int | float)
    and 0 < pair[1] < float("inf")
    for pair in sources
  )
