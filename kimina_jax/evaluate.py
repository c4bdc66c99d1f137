"""Evaluation: pass@k of a checkpoint, with confidence intervals; resumable.

  python -m kimina_jax.evaluate --config=eval_minif2f \
      --checkpoint=RUN --run_dir=DIR

The held-out problems are sampled in parts. A repeated command samples only the
parts that DIR does not hold yet.

In: a checkpoint and held-out statements. Out: DIR/rollouts.jsonl,
DIR/result.json and a table on the terminal. It never trains.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "evaluate",
      main="kimina_jax.evaluate:evaluate",
      summary="Estimates pass@k of a checkpoint on held-out statements.",
      example=(
        "kimina evaluate --config=debug --checkpoint=runs/rl \\\n"
        "  --run_dir=runs/eval"
      ),
      flags=(cli.CHECKPOINT, cli.RUN_DIR, cli.DRY_RUN),
      config="eval_minif2f",
      is_experiment=True,
    )
  )

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from kimina_jax.infra import distributed, interruption, records
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.infra.metrics import open_metrics
from kimina_jax.pipeline.collector import ExperienceCollector
from kimina_jax.pipeline.dry_run import describe
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.setup import Setup, first_params, open_directory
from kimina_jax.pipeline.validate import validate
from kimina_jax.rewards.pass_at_k import (
  SolveCount,
  bootstrap_interval,
  by_source,
  count_solved,
  count_solved_rows,
  pass_estimates,
  pass_metrics,
)
from kimina_jax.rollouts.resharding import make_reshard
from kimina_jax.types import Problem, UsageError

# Rollouts of a part of the problems, as a multiple of the decode slots.
_ROLLOUTS_PER_SLOT = 8


def evaluate(
  config: ConfigDict, checkpoint: str, run_dir: str, dry_run: bool = False
) -> None:
  """Samples and verifies the parts missing in `run_dir`, then writes the score.

  Args:
    config: the experiment.
    checkpoint: run or model directory.
    run_dir: directory of the evaluation; made if it is missing.
    dry_run: only validate the experiment and print what would run.
  """
  experiment = Experiment.from_config(config)
  if not checkpoint:
    raise UsageError("--checkpoint is missing; name a run or model directory")
  # The checkpoint's own directory, not the run's: with the weights that a run
  # saves later, this would be another evaluation.
  weights = distributed.of_first(str(find_weights(checkpoint)))
  experiment = dataclasses.replace(experiment, init_from=weights)
  setup = validate(experiment, program="evaluate", run_dir=run_dir)
  if dry_run:
    print(describe(setup, program="evaluate", run_dir=run_dir))
    return
  with open_directory(setup, run_dir, program="evaluate") as root:
    sample_parts(setup, root)
    if distributed.is_first():
      rows = records.read_rollouts(root / "rollouts.jsonl")
      counts = count_solved_rows(rows)
      _write_result(setup, root, counts)
      Console().print(table(counts, experiment.eval.ks))


def sample_parts(setup: Setup, root: pathlib.Path) -> None:
  """Appends the rollouts of each part that is missing to rollouts.jsonl."""
  experiment = setup.experiment
  path = root / "rollouts.jsonl"
  parts = split_parts(setup)
  num_samples = experiment.eval.num_samples
  first = distributed.of_first(_num_complete(path, parts, num_samples))
  if first == len(parts):
    return
  with contextlib.ExitStack() as stack:
    collector = stack.enter_context(ExperienceCollector(setup))
    reshard = make_reshard(setup.model, setup.mesh, collector.engine.replicas)
    params = reshard(first_params(setup))
    metrics = open_metrics(
      root,
      experiment.metrics,
      start_step=first,
      total_steps=len(parts),
      title=f"Evaluation of {experiment.init_from}",
    )
    rollouts = records.open_rollouts(path, first)
    stack.enter_context(contextlib.closing(metrics))
    stack.enter_context(contextlib.closing(rollouts))
    interruption.defer()
    for part in range(first, len(parts)):
      try:
        samples, _ = collector.collect(
          params,
          parts[part],
          num_per_problem=num_samples,
          seed=experiment.seed,
          iteration=part,
          progress=metrics.phase,
          confirm=True,
        )
      except interruption.Interrupted as reason:
        raise interruption.Interrupted(
          f"{reason}; {part} of {len(parts)} parts are saved in {root}, the "
          "same command resumes from there"
        ) from None
      rollouts.write(part, samples)
      metrics.write(
        part, pass_metrics(count_solved(samples), experiment.eval.ks)
      )


def split_parts(setup: Setup) -> list[Sequence[Problem]]:
  """The held-out problems in parts, each of which is sampled as a whole."""
  experiment = setup.experiment
  problems = setup.eval_problems
  num_rollouts = _ROLLOUTS_PER_SLOT * experiment.rollouts.num_slots
  size = max(1, num_rollouts // experiment.eval.num_samples)
  return [problems[i : i + size] for i in range(0, len(problems), size)]


def table(counts: Sequence[SolveCount], ks: Sequence[int]) -> Table:
  """pass@k in percent with 95 % intervals, for each source and for all."""
  view = Table("source", "problems")
  for k in ks:
    view.add_column(f"pass@{k} %", justify="right", no_wrap=True)
  groups = by_source(counts)
  for source, group in groups.items() if len(groups) > 1 else ():
    view.add_row(source, str(len(group)), *(_cell(group, k) for k in ks))
  view.add_section()
  view.add_row("all", str(len(counts)), *(_cell(counts, k) for k in ks))
  return view


def _num_complete(
  path: pathlib.Path, parts: Sequence[Sequence[Problem]], num_samples: int
) -> int:
  """Number of leading parts whose rollouts are all in the file."""
  if not path.exists():
    return 0
  num_rows = collections.Counter(
    (row["iteration"], row["name"]) for row in records.read_rollouts(path)
  )
  complete = (
    all(num_rows[index, problem.name] == num_samples for problem in part)
    for index, part in enumerate(parts)
  )
  return sum(itertools.takewhile(bool, complete))


def _write_result(
  setup: Setup, root: pathlib.Path, counts: Sequence[SolveCount]
) -> None:
  """Writes result.json: the score, its checkpoint and its statements."""
  experiment = setup.experiment
  statements = pathlib.Path(experiment.problems.eval)
  digest = (
    hashlib.sha256(statements.read_bytes()).hexdigest()
    if statements.exists()
    else "generated"
  )
  result = {
    "checkpoint": experiment.init_from,
    "statements": experiment.problems.eval,
    "split": experiment.problems.eval_split,
    "sha256": digest,
    "num_problems": len(counts),
    **pass_metrics(counts, experiment.eval.ks),
  }
  path = root / "result.json"
  path.write_text(json.dumps(result, indent=2, ensure_ascii=False))


def _cell(counts: Sequence[SolveCount], k: int) -> str:
  passes = pass_estimates(counts, k)
  if not passes:
    return "–"
  low, high = bootstrap_interval(passes)
  return f"{100 * np.mean(passes):.1f} [{100 * low:.1f}, {100 * high:.1f}]"
