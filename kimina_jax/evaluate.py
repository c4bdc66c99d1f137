"""pass@k of a checkpoint, with confidence intervals; resumable.

  python -m kimina_jax.evaluate --config=configs/eval_minif2f.py \
      --checkpoint=RUN --run_dir=DIR

Comes in: a checkpoint and held-out statements. Goes out: DIR/rollouts.jsonl,
DIR/result.json and a table on the terminal. It never trains.
"""

import collections
import contextlib
import hashlib
import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from kimina_jax.infra import cli, distributed, interruption, records
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.infra.metrics import open_metrics
from kimina_jax.pipeline.collector import Prover
from kimina_jax.pipeline.setup import Job, first_params, open_job
from kimina_jax.problems.load import ProblemsSettings, load_eval_problems
from kimina_jax.rewards.pass_at_k import (
  SolveCount,
  bootstrap_interval,
  by_source,
  check_ks,
  count_solved,
  count_solved_rows,
  pass_estimates,
  pass_metrics,
)
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.types import Problem, UsageError

# A part of the problems fills the slots this often; parts are what resumes.
_PART_FILLS_SLOTS = 8


def evaluate(config: ConfigDict, checkpoint: str, run_dir: str) -> None:
  """Samples and checks what `run_dir` does not hold yet, then sums up."""
  check_ks(config.eval.ks, config.eval.num_samples)
  if not checkpoint:
    raise UsageError("--checkpoint is missing; name a run or model directory")
  # The very step: weights that a run adds later are another evaluation.
  config.init_from = distributed.of_first(str(find_weights(checkpoint)))
  # No batches: what the engine needs of the machine, it checks itself.
  job = open_job(
    config, run_dir, program="evaluate", rows_per_batch=0, sequence_len=0
  )
  path = job.run_dir / "rollouts.jsonl"
  problems = load_eval_problems(
    ProblemsSettings(**config.problems), job.prompt_limit
  )
  _sample(job, problems, path)
  if distributed.is_first():
    found = count_solved_rows(records.read_rollouts(path))
    _write_result(job, found)
    Console().print(table(found, config.eval.ks))


def table(found: Sequence[SolveCount], ks: Sequence[int]) -> Table:
  """pass@k in percent with 95 % intervals, for each source and for all."""
  view = Table("source", "problems")
  for k in ks:
    view.add_column(f"pass@{k} %", justify="right", no_wrap=True)
  groups = by_source(found)
  for source, group in groups.items() if len(groups) > 1 else ():
    view.add_row(source, str(len(group)), *(_cell(group, k) for k in ks))
  view.add_section()
  view.add_row("all", str(len(found)), *(_cell(found, k) for k in ks))
  return view


def _sample(job: Job, problems: Sequence[Problem], path: pathlib.Path) -> None:
  """Appends the rollouts of one part of the problems after another."""
  config = job.config
  num_samples = config.eval.num_samples
  size = max(1, _PART_FILLS_SLOTS * config.rollouts.num_slots // num_samples)
  parts = [problems[i : i + size] for i in range(0, len(problems), size)]
  first = distributed.of_first(_num_done(path, parts, num_samples))
  if first == len(parts):
    return
  with contextlib.ExitStack() as stack:
    prover = stack.enter_context(Prover(job))
    reshard = make_reshard(job.model, job.mesh, prover.engine.replicas)
    params = reshard(first_params(job))
    log = open_metrics(
      job.run_dir,
      start_step=first,
      total_steps=len(parts),
      title=f"Evaluation of {config.init_from}",
    )
    rows = records.open_rollouts(path, first)
    stack.enter_context(contextlib.closing(log))
    stack.enter_context(contextlib.closing(rows))
    interruption.install()
    for step in range(first, len(parts)):
      samples, _ = prover.attempt(
        params,
        parts[step],
        num_per_problem=num_samples,
        seed=config.seed,
        step=step,
        progress=log.phase,
        confirm=True,
      )
      rows.write(step, samples)
      log.write(step, pass_metrics(count_solved(samples), config.eval.ks))


def _num_done(
  path: pathlib.Path, parts: Sequence[Sequence[Problem]], num_samples: int
) -> int:
  """How many parts an earlier start has completed."""
  if not path.exists():
    return 0
  rows = collections.Counter(
    (row["iteration"], row["name"]) for row in records.read_rollouts(path)
  )
  whole = (
    all(rows[step, problem.name] == num_samples for problem in part)
    for step, part in enumerate(parts)
  )
  return sum(itertools.takewhile(bool, whole))


def _write_result(job: Job, found: Sequence[SolveCount]) -> None:
  """A score names the checkpoint and the very statements it was made on."""
  settings = job.config.problems
  statements = pathlib.Path(settings.eval)
  digest = (
    hashlib.sha256(statements.read_bytes()).hexdigest()
    if statements.exists()
    else "generated"
  )
  result = {
    "checkpoint": job.config.init_from,
    "statements": settings.eval,
    "split": settings.eval_split,
    "sha256": digest,
    "num_problems": len(found),
    **pass_metrics(found, job.config.eval.ks),
  }
  path = job.run_dir / "result.json"
  path.write_text(json.dumps(result, indent=2, ensure_ascii=False))


def _cell(found: Sequence[SolveCount], k: int) -> str:
  passes = pass_estimates(found, k)
  if not passes:
    return "–"
  low, high = bootstrap_interval(passes)
  return f"{100 * np.mean(passes):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
  cli.run_experiment(
    evaluate,
    default="configs/eval_minif2f.py",
    checkpoint="Run or model directory to evaluate.",
    run_dir="Directory of this evaluation.",
  )
