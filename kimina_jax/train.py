"""Reinforcement learning: the loop and nothing else.

  python -m kimina_jax.train --config=configs/debug.py --run_dir=runs/rl

One iteration draws problems, samples k proofs of each, has them checked, turns
verdicts into advantages and takes a few optimizer steps (Kimina-Prover
Preview, arXiv 2504.11354; Kimi k1.5, arXiv 2501.12599, §2.3). With a budget of
tokens, problems whose rollouts are not all finished go on in the next one. A
run that was stopped goes on from its newest checkpoint, as if it had not been.
"""

import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from kimina_jax.infra import cli, distributed, interruption
from kimina_jax.learning.batch import from_samples, minibatches, pack, put
from kimina_jax.learning.update import TrainState, check_finite
from kimina_jax.pipeline import partial_rollouts
from kimina_jax.pipeline.run import Session, open_session, save
from kimina_jax.pipeline.setup import open_job
from kimina_jax.problems.canaries import canaries, caught
from kimina_jax.report.page import write_report
from kimina_jax.rewards.advantage import AdvantageSettings, add_advantages
from kimina_jax.rewards.pass_at_k import check_ks, count_solved, pass_metrics
from kimina_jax.rewards.summary import disputed, solve_counts, summarize
from kimina_jax.types import CheckerFooled, Problem, Sample, UsageError

# Draws of an evaluation are not those of training.
_EVAL_SEED = 2**31


def train(config: ConfigDict, run_dir: str) -> None:
  """Trains to `config.train.num_iterations`; goes on where a run stopped."""
  job = open_job(
    config,
    run_dir,
    program="train",
    rows_per_batch=config.train.rows_per_batch,
    sequence_len=config.train.sequence_len,
  )
  _check(config)
  with open_session(job) as run:
    loop(run)
  if distributed.is_first():
    print(f"report: {write_report(job.run_dir)}")


def loop(run: Session) -> None:
  """Evaluates, iterates, saves; on SIGTERM saves and leaves."""
  state, carried, config = run.state, run.carried, run.job.config
  last = config.train.num_iterations
  try:
    for step in range(run.first_step, last + 1):
      metrics = {}
      if step == last or (config.eval.every and step % config.eval.every == 0):
        metrics |= evaluate_policy(run, state, step)
      if step < last:
        state, carried, trained = iterate(run, state, carried, step)
        metrics |= trained
      run.log.write(step, metrics)
      if step < last:
        save(run, state, carried, step=step + 1, force=step + 1 == last)
  except interruption.Interrupted as reason:
    # An iteration is all or nothing: `state` is as this one found it.
    save(run, state, carried, step=step, force=True)
    raise interruption.Interrupted(
      f"{reason}; {step} iterations are saved in {run.job.run_dir}, the same "
      "command goes on from there"
    ) from None


def iterate(
  run: Session,
  state: TrainState,
  carried: Sequence[partial_rollouts.Group],
  step: int,
) -> tuple[TrainState, Sequence[partial_rollouts.Group], dict[str, float]]:
  """From problems to a gradient: the life of a rollout."""
  config = run.job.config
  settings = config.train
  start = time.perf_counter()
  samples, left = run.prover.attempt(
    run.programs.reshard(state.params),
    choose(run, step, settings.num_problems - len(carried)),
    num_per_problem=settings.num_per_problem,
    seed=config.seed,
    step=step,
    progress=run.log.phase,
    carried=carried,
    max_tokens=settings.tokens_per_iteration,
  )
  sampled = time.perf_counter()
  samples = advantages(config, samples)
  _check_canaries(run, samples, step)
  state, learned = improve(run, state, samples, step)
  updated = time.perf_counter()
  run.curriculum.record(step, solve_counts(samples), disputed=disputed(samples))
  run.rows.write(step, samples)
  done = {
    **summarize(samples),
    **partial_rollouts.summarize(carried, samples, left),
    **learned,
    **run.prover.stats,
    "curriculum/pruned": float(run.curriculum.num_pruned),
  }
  speed = _speed(
    samples, done["sampler/tokens"], sampled - start, updated - sampled
  )
  return state, left, done | speed


def choose(run: Session, step: int, count: int) -> list[Problem]:
  """The problems that an iteration begins, some of which are canaries."""
  problems = run.curriculum.draw(step, count)
  false = canaries(
    problems[0].header if problems else "",
    num_problems=count,
    share=run.job.config.train.canary_share,
    seed=run.job.config.seed,
    step=step,
  )
  return [*problems[: count - len(false)], *false]


def advantages(config: ConfigDict, samples: Sequence[Sample]) -> list[Sample]:
  """Rewards against the baseline of each problem's group."""
  return add_advantages(
    samples,
    AdvantageSettings(**config.advantage),
    num_per_problem=config.train.num_per_problem,
    seed=config.seed,
    tau=config.loss.tau,
  )


def improve(
  run: Session, state: TrainState, samples: Sequence[Sample], step: int
) -> tuple[TrainState, dict[str, float]]:
  """An optimizer step per minibatch, all anchored to the policy as it was."""
  job, programs = run.job, run.programs
  settings = job.config.train
  if not samples:
    logging.warning(
      "iteration %d: no problem has all its rollouts yet, so there is nothing"
      " to learn from; train.tokens_per_iteration = %d is very few",
      *(step, settings.tokens_per_iteration),
    )
    return state, {}
  parts = minibatches(
    samples,
    num_minibatches=settings.num_minibatches,
    seed=job.config.seed,
    step=step,
  )
  scored = []
  for part in parts:
    batches = pack(
      from_samples(part, learn_from_carried=settings.learn_from_carried),
      sequence_len=settings.sequence_len,
      rows_per_batch=settings.rows_per_batch,
    )
    scored.append(
      [programs.score(state.params, put(batch, job.mesh)) for batch in batches]
    )
  state = programs.begin(state)
  history = []
  for part, batches in zip(parts, scored, strict=True):
    run.log.phase("updating", done=len(history), total=len(parts))
    state, metrics = programs.update(state, batches, len(part))
    history.append(metrics)
  history = jax.device_get(history)
  for metrics in history:
    check_finite(metrics, step)
  return state, {
    f"loss/{name}": float(np.mean([metrics[name] for metrics in history]))
    for name in history[0]
  }


def evaluate_policy(
  run: Session, state: TrainState, step: int
) -> dict[str, float]:
  """pass@k on the held-out problems."""
  config = run.job.config
  samples, _ = run.prover.attempt(
    run.programs.reshard(state.params),
    run.held_out,
    num_per_problem=config.eval.num_samples,
    seed=config.seed + _EVAL_SEED,
    step=step,
    progress=lambda phase, **count: run.log.phase(
      f"evaluation: {phase}", **count
    ),
    confirm=True,
  )
  return pass_metrics(count_solved(samples), config.eval.ks)


def _check_canaries(run: Session, samples: Sequence[Sample], step: int) -> None:
  """Stops before anything is learned from a checker that is being fooled."""
  found = caught(samples)
  if found is None:
    return
  run.rows.write(step, samples)
  run.log.write(step, summarize(samples))
  raise CheckerFooled(
    f"iteration {step}: the checker accepted a proof of the false statement "
    f"{found.rollout.prompt.problem.statement!r}. Read rollout "
    f"{found.rollout.index} of iteration {step} in "
    f"{run.job.run_dir / 'rollouts.jsonl'}, and mend the checker "
    "before you trust a reward of this run"
  )


def _speed(
  samples: Sequence[Sample],
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


def _check(config: ConfigDict) -> None:
  """Refuses what would fail hours later, with both numbers."""
  longest = config.rollouts.max_prompt_len + config.rollouts.max_response_len
  if longest > config.train.sequence_len:
    raise UsageError(
      f"rollouts.max_prompt_len + max_response_len = {longest} tokens do not "
      f"fit train.sequence_len = {config.train.sequence_len}"
    )
  num_samples = config.train.num_problems * config.train.num_per_problem
  is_fixed = not config.train.tokens_per_iteration
  if is_fixed and num_samples % config.train.num_minibatches:
    raise UsageError(
      f"train.num_problems × num_per_problem = {num_samples} samples do not "
      f"split into num_minibatches = {config.train.num_minibatches} equal parts"
    )
  check_ks(config.eval.ks, config.eval.num_samples)
  advantages(config, [])


if __name__ == "__main__":
  cli.run_experiment(
    train, default="configs/debug.py", run_dir="Directory of this run."
  )
