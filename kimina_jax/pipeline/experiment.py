"""The settings of the loops: one frozen record per section of the config.

A record has the fields of its section of configs/common.py and no defaults of
its own. It checks each of its numbers when it is created; validate.py checks
the sections against each other and against the machine.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from ml_collections import ConfigDict

from kimina_jax.infra.checkpoint import CheckpointSettings
from kimina_jax.infra.mesh import MeshSettings
from kimina_jax.infra.metrics import MetricsSettings
from kimina_jax.learning.losses import LossSettings
from kimina_jax.learning.optimizer import OptimizerSettings
from kimina_jax.model.config import ModelSettings
from kimina_jax.problems.curriculum import CurriculumSettings
from kimina_jax.problems.load import ProblemsSettings
from kimina_jax.prompts import template
from kimina_jax.rewards.advantage import AdvantageSettings
from kimina_jax.rewards.reward import RewardSettings
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.types import UsageError, check_numbers, require
from kimina_jax.verification.settings import CheckerSettings

T = TypeVar("T")


class Faults:
  """Collects error messages, to report all of them at once.

  Example:
    faults = Faults()
    mesh = faults.collect(make_mesh, settings)  # None if it raises UsageError
    faults.raise_all()
  """

  def __init__(self) -> None:
    self._faults: list[str] = []

  def add(self, fault: str) -> None:
    """Adds one line; a line that is there already is not repeated."""
    if fault not in self._faults:
      self._faults.append(fault)

  def collect(
    self, function: Callable[..., T], *args: Any, **kwargs: Any
  ) -> T | None:
    """Calls the function; adds its UsageError, if it raises one."""
    try:
      return function(*args, **kwargs)
    except UsageError as error:
      self.add(str(error))
      return None

  def raise_all(self) -> None:
    """Raises UsageError with all faults, if there is any."""
    if len(self._faults) > 1:
      lines = "".join(f"\n  - {fault}" for fault in self._faults)
      raise UsageError(f"{len(self._faults)} faults in this experiment:{lines}")
    if self._faults:
      raise UsageError(self._faults[0])


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """Reinforcement learning: the `train` section.

  Attributes:
    num_iterations: number of iterations of the run.
    num_problems: number of problems in flight in each iteration.
    num_per_problem: k, rollouts of each problem.
    canary_share: share of false statements among the problems, from 0 to 1.
    num_minibatches: optimizer updates per iteration.
    sequence_len: T, length of a packed row in tokens.
    rows_per_batch: B, packed rows of a batch.
    tokens_per_iteration: tokens after which an iteration stops sampling and
      leaves the unfinished rollouts to the next one; 0 is no limit.
    learn_from_carried: whether the tokens of a rollout that earlier iterations
      drew (`Rollout.num_carried`) count in the loss.
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
    confirmed_only: whether only those of a run's proofs are used that the
      second verifier confirmed.
    num_examples: demonstrations per epoch.
    num_epochs: passes over them.
    rows_per_batch: B, packed rows of a batch.
    sequence_len: T, tokens of a packed row.
    learning_rate: peak of the cosine schedule.
    warmup_fraction: share of the updates in which the rate rises.
    weight_decay: decoupled weight decay (AdamW); 0 is off.
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
    every: iterations between the evaluations of a training run; 0 evaluates
      at the end only.
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


@dataclasses.dataclass(frozen=True)
class Experiment:
  """All settings of a program, see configs/common.py.

  Attributes:
    seed: seed of all random numbers, in [0, 2³¹).
    init_from: run or model directory with the first weights; "" starts from
      random ones.
    tokenizer: "embedded", or the path of a tokenizer.
    prompt: kind of prompt, of prompts.template.PROMPT_KINDS.
  """

  seed: int
  init_from: str
  tokenizer: str
  prompt: str
  model: ModelSettings
  mesh: MeshSettings
  problems: ProblemsSettings
  curriculum: CurriculumSettings
  rollouts: RolloutSettings
  checker: CheckerSettings
  reward: RewardSettings
  advantage: AdvantageSettings
  loss: LossSettings
  optimizer: OptimizerSettings
  train: TrainSettings
  sft: SftSettings
  eval: EvalSettings
  checkpoint: CheckpointSettings
  metrics: MetricsSettings

  @classmethod
  def from_config(cls, config: ConfigDict) -> Self:
    """The records of all sections of a config.

    Raises:
      UsageError: the faults of all sections, one line each.
    """
    faults = Faults()
    if not 0 <= config.seed < 2**31:
      faults.add(f"seed = {config.seed} must be in [0, 2147483648)")
    kinds = template.PROMPT_KINDS
    if config.prompt not in kinds:
      faults.add(
        f"prompt = {config.prompt!r}; choose one of {', '.join(kinds)}"
      )
    records: dict[str, Any] = {
      name: faults.collect(_make_record, name, record, config[name])
      for name, record in SECTIONS.items()
    }
    faults.raise_all()
    return cls(
      seed=config.seed,
      init_from=config.init_from,
      tokenizer=config.tokenizer,
      prompt=config.prompt,
      **records,
    )


# Section of the config → its record.
SECTIONS: dict[str, Any] = {
  field.name: field.type
  for field in dataclasses.fields(Experiment)
  if dataclasses.is_dataclass(field.type)
}


def _make_record(name: str, record: type[T], section: ConfigDict) -> T:
  """The record of a section; a key of the wrong type is a UsageError."""
  try:
    return record(**section)
  except TypeError as error:
    raise UsageError(
      f"section {name} of the config: {error}; see configs/common.py"
    ) from error


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
