"""Supervised training: the cold start before RL, and distillation after it.

  python -m kimina_jax.sft --config=configs/debug.py --run_dir=runs/sft

Comes in: demonstrations from the sources that the configuration weighs. Goes
out: a run directory that `init_from` of a later run names. The update is that
of RL, with another loss (cosine learning rate, packed rows, loss on response
tokens only).
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from kimina_jax.infra import cli, interruption
from kimina_jax.infra.checkpoint import Checkpointer, CheckpointSettings
from kimina_jax.infra.metrics import open_metrics
from kimina_jax.learning import losses
from kimina_jax.learning.batch import Example, from_demonstration, pack, put
from kimina_jax.learning.optimizer import (
  Optimizer,
  OptimizerSettings,
  cosine,
  make_optimizer,
)
from kimina_jax.learning.update import TrainState, check_finite, make_update
from kimina_jax.pipeline.setup import (
  Job,
  open_job,
  resume_state,
  save_state,
)
from kimina_jax.problems.load import ProblemsSettings, repeat_demonstrations
from kimina_jax.prompts.template import make_prompt
from kimina_jax.types import Batch, Demonstration, UsageError


def train(config: ConfigDict, run_dir: str) -> None:
  """Imitates for `config.sft.num_epochs`; goes on where a run stopped."""
  settings = config.sft
  job = open_job(
    config,
    run_dir,
    program="sft",
    rows_per_batch=settings.rows_per_batch,
    sequence_len=settings.sequence_len,
  )
  batches = pack(
    examples(job),
    sequence_len=settings.sequence_len,
    rows_per_batch=settings.rows_per_batch,
  )
  with contextlib.ExitStack() as stack:
    checkpoints = Checkpointer(
      job.run_dir,
      CheckpointSettings(
        every=settings.save_every, max_to_keep=config.checkpoint.max_to_keep
      ),
    )
    stack.enter_context(contextlib.closing(checkpoints))
    num_steps = len(batches) * settings.num_epochs
    optimizer = _optimizer(config, num_steps)
    state, first, _ = resume_state(job, optimizer, checkpoints)
    log = open_metrics(
      job.run_dir,
      start_step=first,
      total_steps=num_steps,
      title=f"Supervised training of {job.model.name}",
    )
    stack.enter_context(contextlib.closing(log))
    interruption.install()
    update = make_update(job.model, optimizer, loss=losses.sft, mesh=job.mesh)
    for step in range(first, num_steps):
      batch = put(_batch_at(batches, step, config.seed), job.mesh)
      start = time.perf_counter()
      state, metrics = update(state, [batch], num_sequences=1)
      metrics = jax.device_get(metrics)
      check_finite(metrics, step)
      if step % settings.log_every == 0 or step == num_steps - 1:
        log.write(step, _row(metrics, batch, time.perf_counter() - start))
      _save(checkpoints, state, step + 1, num_steps, run_dir)


def examples(job: Job) -> list[Example]:
  """One epoch: `num_examples` demonstrations, mixed by the sources' weights.

  A source with fewer demonstrations than its share repeats them; generated
  ones are written anew each time.

  Raises:
    UsageError: no sources, or weights that are not positive.
  """
  settings = job.config.sft
  weights = [weight for _, weight in settings.sources]
  if not weights or min(weights) <= 0:
    raise UsageError(
      f"sft.sources = {settings.sources} must be (source, weight) pairs with "
      "positive weights"
    )
  shares = np.round(
    settings.num_examples * np.cumsum([0.0, *weights]) / sum(weights)
  ).astype(int)
  found = []
  for (source, _), count in zip(settings.sources, np.diff(shares), strict=True):
    demonstrations = repeat_demonstrations(
      source,
      ProblemsSettings(**job.config.problems),
      job.prompt_limit,
      skill=settings.skill,
      confirmed_only=settings.confirmed_only,
      seed=job.config.seed,
    )
    found += itertools.islice(demonstrations, int(count))
  order = np.random.default_rng(job.config.seed).permutation(len(found))
  return [_tokenize(job, found[i]) for i in order]


def _tokenize(job: Job, demonstration: Demonstration) -> Example:
  tokenizer = job.tokenizer
  response = tokenizer.encode(demonstration.response)
  return from_demonstration(
    make_prompt(demonstration.problem, tokenizer),
    np.append(response, np.int32(tokenizer.stop_id)),
  )


def _batch_at(batches: Sequence[Batch], step: int, seed: int) -> Batch:
  """Epochs visit the same batches, each in an order of its own."""
  epoch, place = divmod(step, len(batches))
  order = np.random.default_rng([seed, epoch]).permutation(len(batches))
  return batches[order[place]]


def _optimizer(config: ConfigDict, num_steps: int) -> Optimizer:
  """RL's optimizer with a learning rate and weight decay of its own."""
  settings = config.sft
  schedule = cosine(
    settings.learning_rate, num_steps, warmup_fraction=settings.warmup_fraction
  )
  optimizer = dataclasses.replace(
    OptimizerSettings(**config.optimizer),
    weight_decay=settings.weight_decay,
    reset=False,
  )
  return make_optimizer(optimizer, schedule=schedule)


def _save(
  checkpoints: Checkpointer,
  state: TrainState,
  step: int,
  num_steps: int,
  run_dir: str,
) -> None:
  """Saves if due; after SIGTERM saves and leaves."""

  def save(force: bool) -> None:
    save_state(
      checkpoints, state, step, with_optimizer=True, host={}, force=force
    )

  save(force=step == num_steps)
  try:
    interruption.agree()
  except interruption.Interrupted as reason:
    save(force=True)
    raise interruption.Interrupted(
      f"{reason}; {step} steps are saved in {run_dir}, the same command goes "
      "on from there"
    ) from None


def _row(
  metrics: Mapping[str, float], batch: Batch, step_s: float
) -> dict[str, float]:
  return {
    **{f"loss/{name}": float(value) for name, value in metrics.items()},
    "time/update_s": step_s,
    "throughput/train_tokens_per_s": batch.segments_BT.size / step_s,
  }


if __name__ == "__main__":
  cli.run_experiment(
    train, default="configs/debug.py", run_dir="Directory of this run."
  )
