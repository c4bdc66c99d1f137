"""A training run in progress: opened, resumed, and closed.

Comes in: a Job. Goes out: a Session, which holds all that the loop of
train.py works with. It is closed whole, however the loop ends.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

from kimina_jax.infra import interruption
from kimina_jax.infra.checkpoint import Checkpointer, CheckpointSettings
from kimina_jax.infra.metrics import MetricWriter, open_metrics
from kimina_jax.infra.records import RolloutWriter, Silent, open_rollouts
from kimina_jax.learning.losses import LossSettings, make_loss
from kimina_jax.learning.optimizer import (
  Optimizer,
  OptimizerSettings,
  make_optimizer,
)
from kimina_jax.learning.update import (
  TrainState,
  make_begin_iteration,
  make_scorer,
  make_update,
)
from kimina_jax.pipeline import partial_rollouts
from kimina_jax.pipeline.collector import Prover
from kimina_jax.pipeline.setup import Job, resume_state, save_state
from kimina_jax.problems.curriculum import Curriculum, CurriculumSettings
from kimina_jax.problems.load import (
  ProblemsSettings,
  load_eval_problems,
  load_train_problems,
)
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.types import Problem, UsageError


class Programs(NamedTuple):
  """What is compiled, once, for one model on one mesh."""

  reshard: Callable  # params -> params for the sampler
  score: Callable  # params, Batch -> Batch with log π_old
  begin: Callable  # TrainState -> TrainState with a fresh optimizer
  update: Callable  # TrainState, Batches, n -> TrainState, metrics


@dataclasses.dataclass(frozen=True)
class Session:
  """A training run in progress: what its loop works with.

  Attributes:
    job: the experiment on this machine.
    state: what learning starts from, drawn or restored.
    first_step: the iteration to begin with.
    carried: rollouts that the iteration before it left unfinished.
    held_out: problems to evaluate on.
    curriculum: chooses the problems to train on.
    prover: samples and checks.
    programs: learns.
    checkpoints: keep the state.
    log: keeps the metrics and shows the progress.
    rows: keeps the rollouts.
  """

  job: Job
  state: TrainState
  first_step: int
  carried: Sequence[partial_rollouts.Group]
  held_out: Sequence[Problem]
  curriculum: Curriculum
  prover: Prover
  programs: Programs
  checkpoints: Checkpointer
  log: MetricWriter | Silent
  rows: RolloutWriter | Silent


@contextlib.contextmanager
def open_session(job: Job) -> Iterator[Session]:
  """Starts or resumes a run, and lets go of all it owns at the end."""
  config = job.config
  sources = ProblemsSettings(**config.problems)
  held_out = load_eval_problems(sources, job.prompt_limit)
  curriculum = Curriculum(
    load_train_problems(sources, job.prompt_limit, seed=config.seed),
    CurriculumSettings(**config.curriculum),
    seed=config.seed,
  )
  optimizer = make_optimizer(OptimizerSettings(**config.optimizer))
  with contextlib.ExitStack() as stack:
    prover = stack.enter_context(Prover(job))
    programs = _programs(job, optimizer, prover.engine.replicas)
    checkpoints = Checkpointer(
      job.run_dir, CheckpointSettings(**config.checkpoint)
    )
    stack.enter_context(contextlib.closing(checkpoints))
    state, step, host = resume_state(job, optimizer, checkpoints)
    carried = []
    if host:
      curriculum.restore(host["curriculum"])
      carried = partial_rollouts.restore(host["carried"], job.tokenizer)
    if step > config.train.num_iterations:
      raise UsageError(
        f"{job.run_dir} has done {step} iterations, more than "
        f"train.num_iterations = {config.train.num_iterations}"
      )
    rows = open_rollouts(job.run_dir / "rollouts.jsonl", step)
    stack.enter_context(contextlib.closing(rows))
    log = open_metrics(
      job.run_dir,
      start_step=step,
      total_steps=config.train.num_iterations,
      title=f"RL of {job.model.name}",
    )
    stack.enter_context(contextlib.closing(log))
    # What moves between host and device from here on says so.
    stack.enter_context(jax.transfer_guard("disallow"))
    interruption.install()
    yield Session(
      job=job,
      state=state,
      first_step=step,
      carried=carried,
      held_out=held_out,
      curriculum=curriculum,
      prover=prover,
      programs=programs,
      checkpoints=checkpoints,
      log=log,
      rows=rows,
    )


def save(
  session: Session,
  state: TrainState,
  carried: Sequence[partial_rollouts.Group],
  *,
  step: int,
  force: bool = False,
) -> None:
  """Saves what the next iteration starts from, if a save is due."""
  save_state(
    session.checkpoints,
    state,
    step,
    with_optimizer=not session.job.config.optimizer.reset,
    host={
      "curriculum": session.curriculum.state(),
      "carried": partial_rollouts.state(carried),
    },
    force=force,
  )


def _programs(
  job: Job, optimizer: Optimizer, replicas: jax.sharding.Mesh
) -> Programs:
  max_len = job.config.rollouts.max_response_len
  loss = make_loss(LossSettings(**job.config.loss), max_len=max_len)
  return Programs(
    reshard=make_reshard(job.model, job.mesh, replicas),
    score=make_scorer(job.model, mesh=job.mesh),
    begin=make_begin_iteration(job.model, optimizer, mesh=job.mesh),
    update=make_update(job.model, optimizer, loss=loss, mesh=job.mesh),
  )
