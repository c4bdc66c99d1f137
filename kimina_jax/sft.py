"""Supervised training: the cold start before RL, and distillation after it.

  python -m kimina_jax.sft --config=debug --run_dir=runs/sft

In: demonstrations, from the sources that `sft.sources` weighs. Out: a run
directory, which `init_from` of a later run names. The update is that of RL
with the loss of maximum likelihood on the response tokens of packed rows, and
a cosine learning rate.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "sft",
      main="kimina_jax.sft:run_sft",
      summary="Trains a policy on demonstrations: cold start or distillation.",
      example="kimina sft --config=debug --run_dir=runs/sft",
      flags=(cli.RUN_DIR, cli.DRY_RUN),
      config="debug",
      is_experiment=True,
    )
  )

import contextlib
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from kimina_jax.infra import distributed, interruption
from kimina_jax.infra.checkpoint import Checkpointer
from kimina_jax.infra.metrics import open_metrics
from kimina_jax.learning import losses
from kimina_jax.learning.batch import (
  Example,
  example_from_demonstration,
  pack,
  put_batch,
)
from kimina_jax.learning.optimizer import (
  Optimizer,
  make_optimizer,
  warmup_cosine,
)
from kimina_jax.learning.update import TrainState, check_finite, make_update
from kimina_jax.pipeline.dry_run import describe
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.setup import Setup, open_directory, prompt_limit
from kimina_jax.pipeline.state import resume_state, save_state
from kimina_jax.pipeline.validate import validate
from kimina_jax.problems.load import repeat_demonstrations
from kimina_jax.types import Batch, Demonstration


def run_sft(config: ConfigDict, run_dir: str, dry_run: bool = False) -> None:
  """Imitates demonstrations for `sft.num_epochs`; resumes a stopped run.

  Args:
    config: the experiment.
    run_dir: directory of the run; made if it is missing.
    dry_run: only validate the experiment and print what would run.
  """
  experiment = Experiment.from_config(config)
  setup = validate(experiment, program="sft", run_dir=run_dir)
  batches = pack(
    examples(setup),
    sequence_len=experiment.sft.sequence_len,
    rows_per_batch=experiment.sft.rows_per_batch,
  )
  num_updates = len(batches) * experiment.sft.num_epochs
  if dry_run:
    facts = {
      "examples": f"{experiment.sft.num_examples} per epoch",
      "updates": (
        f"{experiment.sft.num_epochs} epochs × {len(batches)} batches = "
        f"{num_updates}"
      ),
    }
    print(describe(setup, program="sft", run_dir=run_dir, facts=facts))
    return
  with contextlib.ExitStack() as stack:
    root = stack.enter_context(open_directory(setup, run_dir, program="sft"))
    checkpoints = Checkpointer(
      root,
      dataclasses.replace(
        experiment.checkpoint, every=experiment.sft.save_every
      ),
    )
    stack.enter_context(contextlib.closing(checkpoints))
    optimizer = make_sft_optimizer(experiment, num_updates)
    state, first, _ = resume_state(setup, optimizer, checkpoints)
    metrics_log = open_metrics(
      root,
      experiment.metrics,
      start_step=first,
      total_steps=num_updates,
      title=f"Supervised training of {setup.model.name}",
    )
    stack.enter_context(contextlib.closing(metrics_log))
    interruption.defer()
    update = make_update(
      setup.model, optimizer, loss=losses.sft, mesh=setup.mesh
    )
    for step in range(first, num_updates):
      batch = put_batch(batch_at(batches, step, experiment.seed), setup.mesh)
      start = time.perf_counter()
      state, metrics = update(state, [batch], 1)
      metrics = jax.device_get(metrics)
      check_finite(metrics, f"update {step}")
      if step % experiment.sft.log_every == 0 or step == num_updates - 1:
        seconds = time.perf_counter() - start
        metrics_log.write(step, _metrics(metrics, batch, seconds))
      is_last = step + 1 == num_updates
      _save(checkpoints, state, step + 1, root, is_last=is_last)


def examples(setup: Setup) -> list[Example]:
  """The examples of one epoch: `num_examples` demonstrations, shuffled.

  Each source contributes its share by weight. A source with fewer
  demonstrations than its share repeats them; generated ones are written anew
  each time.

  Raises:
    UsageError: a source that cannot be read, or has nothing to imitate.
  """
  experiment = setup.experiment
  settings = experiment.sft
  weights = [weight for _, weight in settings.sources]
  ends = np.round(
    settings.num_examples * np.cumsum([0.0, *weights]) / sum(weights)
  ).astype(int)
  found: list[Demonstration] = []
  for (source, _), count in zip(settings.sources, np.diff(ends), strict=True):
    demonstrations = repeat_demonstrations(
      source,
      experiment.problems,
      prompt_limit(experiment, setup.tokenizer),
      skill=settings.skill,
      confirmed_only=settings.confirmed_only,
      seed=experiment.seed,
    )
    found += itertools.islice(demonstrations, int(count))
  order = np.random.default_rng(experiment.seed).permutation(len(found))
  return [_tokenize(setup, found[i]) for i in order]


def make_sft_optimizer(experiment: Experiment, num_updates: int) -> Optimizer:
  """RL's optimizer with a cosine schedule and SFT's weight decay."""
  settings = experiment.sft
  schedule = warmup_cosine(
    settings.learning_rate,
    num_updates,
    warmup_fraction=settings.warmup_fraction,
  )
  optimizer = dataclasses.replace(
    experiment.optimizer, weight_decay=settings.weight_decay, reset=False
  )
  return make_optimizer(optimizer, schedule=schedule)


def batch_at(batches: Sequence[Batch], step: int, seed: int) -> Batch:
  """The batch of an update; each epoch has an order of its own."""
  epoch, place = divmod(step, len(batches))
  order = np.random.default_rng([seed, epoch]).permutation(len(batches))
  return batches[order[place]]


def _tokenize(setup: Setup, demonstration: Demonstration) -> Example:
  tokenizer = setup.tokenizer
  response = tokenizer.encode(demonstration.response)
  return example_from_demonstration(
    setup.prompt(demonstration.problem),
    np.append(response, np.int32(tokenizer.stop_id)),
  )


def _save(
  checkpoints: Checkpointer,
  state: TrainState,
  step: int,
  root: pathlib.Path,
  *,
  is_last: bool,
) -> None:
  """Saves if due; on SIGTERM saves and stops."""

  def save(force: bool) -> None:
    save_state(
      checkpoints, state, step, with_optimizer=True, host={}, force=force
    )

  save(force=is_last)
  try:
    distributed.agree_to_stop()
  except interruption.Interrupted as reason:
    save(force=True)
    raise interruption.Interrupted(
      f"{reason}; {step} updates are saved in {root}, the same command "
      "resumes from there"
    ) from None


def _metrics(
  metrics: Mapping[str, float], batch: Batch, update_s: float
) -> dict[str, float]:
  return {
    **{f"loss/{name}": float(value) for name, value in metrics.items()},
    "time/update_s": update_s,
    "throughput/train_tokens_per_s": batch.segments_BT.size / update_s,
  }
