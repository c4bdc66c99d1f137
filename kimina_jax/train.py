"""Reinforcement learning: the training loop.

  python -m kimina_jax.train --config=debug --run_dir=runs/rl

One iteration draws problems, samples k proofs of each, verifies them, turns
the verdicts into advantages and makes a few optimizer updates (Kimina-Prover
Preview, arXiv 2504.11354; Kimi k1.5, arXiv 2501.12599, §2.3). With a budget of
tokens, rollouts that are unfinished continue in the next iteration. A run that
was stopped resumes from its newest checkpoint and computes what it would have
computed without the stop.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "train",
      main="kimina_jax.train:train",
      summary="Trains a policy by reinforcement learning on Lean's verdicts.",
      example="kimina train --config=debug --run_dir=runs/rl",
      flags=(cli.RUN_DIR, cli.DRY_RUN),
      config="debug",
      is_experiment=True,
    )
  )

import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from kimina_jax.infra import distributed, interruption
from kimina_jax.learning.batch import (
  examples_from_samples,
  minibatches,
  pack,
  put_batch,
)
from kimina_jax.learning.update import TrainState, check_finite
from kimina_jax.pipeline import partial_rollouts
from kimina_jax.pipeline.dry_run import describe
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.partial_rollouts import PartialGroup
from kimina_jax.pipeline.run import Run, open_run, save_run
from kimina_jax.pipeline.setup import open_directory
from kimina_jax.pipeline.validate import validate
from kimina_jax.problems.canaries import draw_canaries, find_accepted_canary
from kimina_jax.report.page import write_report
from kimina_jax.rewards.advantage import add_advantages
from kimina_jax.rewards.pass_at_k import count_solved, pass_metrics
from kimina_jax.rewards.summary import disputed, sample_metrics, solve_counts
from kimina_jax.types import Batch, CheckerFooled, Problem, Sample

# Added to the seed: evaluations sample with other random numbers.
_EVAL_SEED = 2**31


def train(config: ConfigDict, run_dir: str, dry_run: bool = False) -> None:
  """Trains to `train.num_iterations`; resumes a run that was stopped.

  Args:
    config: the experiment.
    run_dir: directory of the run; made if it is missing.
    dry_run: only validate the experiment and print what would run.
  """
  experiment = Experiment.from_config(config)
  setup = validate(experiment, program="train", run_dir=run_dir)
  if dry_run:
    print(describe(setup, program="train", run_dir=run_dir))
    return
  with open_directory(setup, run_dir, program="train") as root:
    with open_run(setup, root) as run:
      loop(run)
    if distributed.is_first():
      print(f"report: {write_report(root)}")


def loop(run: Run) -> None:
  """Evaluates, iterates and saves; on SIGTERM saves and stops."""
  state, carried_over = run.state, run.carried_over
  every = run.setup.experiment.eval.every
  last = run.setup.experiment.train.num_iterations
  try:
    for iteration in range(run.first_iteration, last + 1):
      metrics: dict[str, float] = {}
      if iteration == last or (every and iteration % every == 0):
        metrics |= evaluate_policy(run, state, iteration)
      if iteration < last:
        state, carried_over, trained = iterate(
          run, state, carried_over, iteration
        )
        metrics |= trained
      run.metric_writer.write(iteration, metrics)
      if iteration < last:
        done = iteration + 1
        save_run(run, state, carried_over, iteration=done, force=done == last)
  except interruption.Interrupted as reason:
    # An iteration completes or has no effect: `state` is that of its start.
    save_run(run, state, carried_over, iteration=iteration, force=True)
    raise interruption.Interrupted(
      f"{reason}; {iteration} iterations are saved in {run.run_dir}, the same "
      "command resumes from there"
    ) from None


def iterate(
  run: Run,
  state: TrainState,
  carried_over: Sequence[PartialGroup],
  iteration: int,
) -> tuple[TrainState, Sequence[PartialGroup], dict[str, float]]:
  """One iteration: problems, rollouts, verdicts, advantages, updates."""
  experiment = run.setup.experiment
  settings = experiment.train
  start = time.perf_counter()
  samples, partial_groups = run.collector.collect(
    run.train_programs.reshard(state.params),
    choose_problems(run, iteration, settings.num_problems - len(carried_over)),
    num_per_problem=settings.num_per_problem,
    seed=experiment.seed,
    iteration=iteration,
    progress=run.metric_writer.phase,
    carried_over=carried_over,
    max_tokens=settings.tokens_per_iteration,
  )
  sampled = time.perf_counter()
  samples = add_advantages(
    samples,
    experiment.advantage,
    num_per_problem=settings.num_per_problem,
    seed=experiment.seed,
    tau=experiment.loss.tau,
  )
  _check_canaries(run, samples, iteration)
  _warn_without_signal(samples, iteration)
  state, learned = update_policy(run, state, samples, iteration)
  updated = time.perf_counter()
  run.curriculum.record(
    iteration, solve_counts(samples), disputed=disputed(samples)
  )
  run.rollout_writer.write(iteration, samples)
  metrics = {
    **sample_metrics(samples),
    **partial_rollouts.partial_rollout_metrics(
      carried_over, samples, partial_groups
    ),
    **learned,
    **run.collector.stats,
    "curriculum/pruned": float(run.curriculum.num_pruned),
  }
  speed = _speed(
    samples,
    num_sampled=metrics.get("sampler/tokens", 0.0),
    sample_s=sampled - start,
    update_s=updated - sampled,
  )
  return state, partial_groups, metrics | speed


def choose_problems(run: Run, iteration: int, count: int) -> list[Problem]:
  """The problems that an iteration begins, some of which are canaries."""
  experiment = run.setup.experiment
  problems = run.curriculum.draw(iteration, count)
  false = draw_canaries(
    problems[0].header if problems else "",
    num_problems=count,
    share=experiment.train.canary_share,
    seed=experiment.seed,
    iteration=iteration,
  )
  return [*problems[: count - len(false)], *false]


def update_policy(
  run: Run, state: TrainState, samples: Sequence[Sample], iteration: int
) -> tuple[TrainState, dict[str, float]]:
  """One update per minibatch, all with the same old policy π_old."""
  setup, programs = run.setup, run.train_programs
  settings = setup.experiment.train
  if not samples:
    logging.warning(
      "iteration %d: no problem has all its rollouts yet, so there is no"
      " update; train.tokens_per_iteration = %d is too small; raise it",
      iteration,
      settings.tokens_per_iteration,
    )
    return state, {}
  parts = minibatches(
    samples,
    num_minibatches=settings.num_minibatches,
    seed=setup.experiment.seed,
    iteration=iteration,
  )
  with_old_logprobs: list[list[Batch]] = []
  for part in parts:
    batches = pack(
      examples_from_samples(
        part, learn_from_carried=settings.learn_from_carried
      ),
      sequence_len=settings.sequence_len,
      rows_per_batch=settings.rows_per_batch,
    )
    with_old_logprobs.append(
      [
        programs.compute_old_logprobs(
          state.params, put_batch(batch, setup.mesh)
        )
        for batch in batches
      ]
    )
  state = programs.begin_iteration(state)
  updates: list[dict[str, jax.Array]] = []
  for part, batches in zip(parts, with_old_logprobs, strict=True):
    run.metric_writer.phase("updating", done=len(updates), total=len(parts))
    state, metrics = programs.update(state, batches, len(part))
    updates.append(metrics)
  history: list[dict[str, float]] = jax.device_get(updates)
  for metrics in history:
    check_finite(metrics, f"iteration {iteration}")
  return state, {
    f"loss/{name}": float(np.mean([metrics[name] for metrics in history]))
    for name in history[0]
  }


def evaluate_policy(
  run: Run, state: TrainState, iteration: int
) -> dict[str, float]:
  """pass@k on the held-out problems."""
  setup = run.setup
  samples, _ = run.collector.collect(
    run.train_programs.reshard(state.params),
    setup.eval_problems,
    num_per_problem=setup.experiment.eval.num_samples,
    seed=setup.experiment.seed + _EVAL_SEED,
    iteration=iteration,
    progress=lambda phase, **count: run.metric_writer.phase(
      f"evaluation: {phase}", **count
    ),
    confirm=True,
  )
  return pass_metrics(count_solved(samples), setup.experiment.eval.ks)


def _check_canaries(
  run: Run, samples: Sequence[Sample], iteration: int
) -> None:
  """Raises CheckerFooled if a false statement was proved, before learning."""
  found = find_accepted_canary(samples)
  if found is None:
    return
  run.rollout_writer.write(iteration, samples)
  run.metric_writer.write(iteration, sample_metrics(samples))
  raise CheckerFooled(
    f"iteration {iteration}: the checker accepted a proof of the false "
    f"statement {found.rollout.prompt.problem.statement!r}. Read rollout "
    f"{found.rollout.index} of iteration {iteration} in "
    f"{run.run_dir / 'rollouts.jsonl'}, and fix the checker before you trust "
    "a reward of this run"
  )


def _warn_without_signal(samples: Sequence[Sample], iteration: int) -> None:
  """Warns if the policy gradient of an iteration is zero."""
  if not samples or any(sample.advantage for sample in samples):
    return
  logging.warning(
    "iteration %d: no gradient signal: the rollouts of each problem have "
    "equal rewards (group/all_0, group/all_1), so every advantage is 0",
    iteration,
  )


def _speed(
  samples: Sequence[Sample],
  *,
  num_sampled: float,
  sample_s: float,
  update_s: float,
) -> dict[str, float]:
  num_trained = sum(
    len(s.rollout.prompt.tokens) + len(s.rollout.tokens)
    for s in samples
    if s.reward is not None and not s.dropped
  )
  return {
    "time/sample_s": sample_s,
    "time/update_s": update_s,
    "throughput/sample_tokens_per_s": num_sampled / sample_s,
    "throughput/train_tokens_per_s": num_trained / update_s,
  }
