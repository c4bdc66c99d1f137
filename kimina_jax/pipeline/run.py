"""Reinforcement learning runs: opening, resuming, saving and closing.

In: a Setup. Out: a Run, which holds everything that the loop of train.py works
with; `open_run` closes all of it, however the loop ends.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
from absl import logging

from kimina_jax.infra import distributed, interruption
from kimina_jax.infra.checkpoint import Checkpointer
from kimina_jax.infra.metrics import MetricWriter, open_metrics
from kimina_jax.infra.records import (
  NullWriter,
  RolloutWriter,
  open_rollouts,
  read,
)
from kimina_jax.learning.losses import make_loss
from kimina_jax.learning.optimizer import Optimizer, make_optimizer
from kimina_jax.learning.update import (
  TrainState,
  make_begin_iteration,
  make_old_logprobs,
  make_update,
)
from kimina_jax.pipeline import partial_rollouts
from kimina_jax.pipeline.collector import ExperienceCollector
from kimina_jax.pipeline.experiment import TrainSettings
from kimina_jax.pipeline.partial_rollouts import PartialGroup
from kimina_jax.pipeline.setup import Setup
from kimina_jax.pipeline.state import Resumed, resume_state, save_state
from kimina_jax.problems.curriculum import Curriculum
from kimina_jax.rollouts.resharding import make_reshard
from kimina_jax.types import Problem, UsageError


class TrainPrograms(NamedTuple):
  """The compiled functions of a run, for one model on one mesh.

  Attributes:
    reshard: params → params in the sampler's layout and dtype.
    compute_old_logprobs: params, Batch → the Batch with log π_old filled in.
    begin_iteration: TrainState → TrainState, the optimizer reset if asked.
    update: TrainState, Batches, number of sequences → TrainState, metrics.
  """

  reshard: Callable
  compute_old_logprobs: Callable
  begin_iteration: Callable
  update: Callable


@dataclasses.dataclass(frozen=True)
class Run:
  """A reinforcement learning run in progress.

  Attributes:
    setup: the validated experiment on this machine.
    run_dir: directory that the run writes to.
    first_iteration: the iteration to begin with; one past the last if the run
      is complete.
    state: training state before that iteration, new or restored.
    carried_over: partial groups that the iteration before it left.
    curriculum: chooses the problems to train on.
    collector: samples and verifies.
    train_programs: compiled functions of learning.
    checkpoints: saves the state.
    metric_writer: writes the metrics and displays the progress.
    rollout_writer: writes the rollouts.
  """

  setup: Setup
  run_dir: pathlib.Path
  first_iteration: int
  state: TrainState
  carried_over: Sequence[PartialGroup]
  curriculum: Curriculum
  collector: ExperienceCollector
  train_programs: TrainPrograms
  checkpoints: Checkpointer
  metric_writer: MetricWriter | NullWriter
  rollout_writer: RolloutWriter | NullWriter


@contextlib.contextmanager
def open_run(setup: Setup, run_dir: pathlib.Path) -> Iterator[Run]:
  """Starts or resumes a run; closes all that it holds at the end.

  Args:
    setup: the validated experiment.
    run_dir: its directory, opened by `setup.open_directory`.
  """
  experiment = setup.experiment
  curriculum = Curriculum(
    setup.train_problems, experiment.curriculum, seed=experiment.seed
  )
  optimizer = make_optimizer(experiment.optimizer)
  with contextlib.ExitStack() as stack:
    collector = stack.enter_context(ExperienceCollector(setup))
    train_programs = _make_programs(setup, optimizer, collector.engine.replicas)
    checkpoints = Checkpointer(run_dir, experiment.checkpoint)
    stack.enter_context(contextlib.closing(checkpoints))
    resumed = resume_state(setup, optimizer, checkpoints)
    carried_over = _resume_host(setup, curriculum, resumed)
    first = _first_iteration(run_dir, resumed.step, experiment.train)
    rollout_writer = open_rollouts(run_dir / "rollouts.jsonl", first)
    stack.enter_context(contextlib.closing(rollout_writer))
    metric_writer = open_metrics(
      run_dir,
      experiment.metrics,
      start_step=first,
      total_steps=experiment.train.num_iterations,
      title=f"RL of {setup.model.name}",
    )
    stack.enter_context(contextlib.closing(metric_writer))
    # From here on, each transfer between host and devices is explicit.
    stack.enter_context(jax.transfer_guard("disallow"))
    interruption.defer()
    yield Run(
      setup=setup,
      run_dir=run_dir,
      first_iteration=first,
      state=resumed.state,
      carried_over=carried_over,
      curriculum=curriculum,
      collector=collector,
      train_programs=train_programs,
      checkpoints=checkpoints,
      metric_writer=metric_writer,
      rollout_writer=rollout_writer,
    )


def save_run(
  run: Run,
  state: TrainState,
  carried_over: Sequence[PartialGroup],
  *,
  iteration: int,
  force: bool = False,
) -> None:
  """Saves the state that `iteration` starts from, if a save is due."""
  save_state(
    run.checkpoints,
    state,
    iteration,
    with_optimizer=not run.setup.experiment.optimizer.reset,
    host={
      "curriculum": run.curriculum.state(),
      "partial_rollouts": partial_rollouts.to_json(carried_over),
      "problems_sha256": problems_digest(run.setup.train_problems),
    },
    force=force,
  )


def problems_digest(problems: Sequence[Problem]) -> str:
  """SHA-256 of the statements that a run trains on, in their order."""
  texts = [[p.name, p.header, p.statement] for p in problems]
  return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _resume_host(
  setup: Setup, curriculum: Curriculum, resumed: Resumed
) -> list[PartialGroup]:
  """Restores the curriculum; returns the partial groups of the checkpoint."""
  host = resumed.host
  if not host:
    return []
  digest = problems_digest(setup.train_problems)
  if host.get("problems_sha256", digest) != digest:
    logging.warning(
      "the statements of problems.train = %s are not those that this run was "
      "trained on so far; its results will differ from those of one data set",
      setup.experiment.problems.train,
    )
  curriculum.restore(host["curriculum"])
  return partial_rollouts.from_json(host["partial_rollouts"], setup.prompt)


def _first_iteration(
  run_dir: pathlib.Path, num_done: int, settings: TrainSettings
) -> int:
  """The iteration to begin with, given how many the checkpoint has.

  The run's last row of metrics is that of the final evaluation, which has the
  number `num_iterations`. If it is there, the run is complete.

  Raises:
    UsageError: the run has done more iterations than it is to do.
  """
  last = settings.num_iterations
  if num_done > last:
    raise UsageError(
      f"{run_dir} has done {num_done} iterations, more than "
      f"train.num_iterations = {last}"
    )
  if num_done < last or not distributed.of_first(_has_row(run_dir, last)):
    return num_done
  logging.info("%s is complete: %d iterations are done", run_dir, last)
  return last + 1


def _has_row(run_dir: pathlib.Path, step: int) -> bool:
  path = run_dir / "metrics.jsonl"
  return path.exists() and any(row["step"] == step for row in read(path))


def _make_programs(
  setup: Setup, optimizer: Optimizer, replicas: jax.sharding.Mesh
) -> TrainPrograms:
  """Programs that compile at their first call."""
  model, mesh, experiment = setup.model, setup.mesh, setup.experiment
  loss = make_loss(
    experiment.loss, max_len=experiment.rollouts.max_response_len
  )
  return TrainPrograms(
    reshard=make_reshard(model, mesh, replicas),
    compute_old_logprobs=make_old_logprobs(model, mesh=mesh),
    begin_iteration=make_begin_iteration(model, optimizer, mesh=mesh),
    update=make_update(model, optimizer, loss=loss, mesh=mesh),
  )
