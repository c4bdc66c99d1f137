"""pass@k of a checkpoint, with confidence intervals; resumable.

  python -m kimina_jax.evaluate --config=configs/eval_minif2f.py \
      --checkpoint=RUN --run_dir=DIR

Comes in: a checkpoint and held-out statements. Goes out: DIR/rollouts.jsonl,
DIR/result.json and a table on the terminal. It never trains.
"""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from kimina_jax.infra import cli, distributed, preemption, records
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.infra.metrics import open_metrics
from kimina_jax.pipeline.collector import Prover
from kimina_jax.pipeline.setup import Job, eval_problems, first_params, open_job
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.types import Problem, Sample, Status, UsageError

# A part of the problems fills the slots this often; parts are what resumes.
_PART_FILLS_SLOTS = 8


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How often one problem was proved.

  Attributes:
    name: of the problem.
    source: its family or competition.
    num_samples: n, verdicts (infrastructure errors do not count).
    num_proved: c.
  """

  name: str
  source: str
  num_samples: int
  num_proved: int


def count(samples: Iterable[Sample]) -> list[Outcome]:
  """Counts the proofs of each problem, in order of first appearance."""
  return count_rows(
    {
      "name": sample.rollout.prompt.problem.name,
      "source": sample.rollout.prompt.problem.source,
      "verdict": sample.verdict.status,
    }
    for sample in samples
  )


def count_rows(rows: Iterable[Mapping[str, str]]) -> list[Outcome]:
  """As `count`, from rows of rollouts.jsonl."""
  counts: dict[tuple[str, str], list[int]] = {}
  for row in rows:
    found = counts.setdefault((row["name"], row["source"]), [0, 0])
    if row["verdict"] != Status.INFRA_ERROR:
      found[0] += 1
      found[1] += row["verdict"] == Status.PROVED
  return [Outcome(*key, *found) for key, found in counts.items()]


def pass_at_k(num_samples: int, num_proved: int, k: int) -> float:
  """Unbiased estimate of P(at least one of k samples proves it).

  1 − C(n−c, k) / C(n, k) = 1 − Π_{i=n−c+1}^{n} (1 − k/i)
  (Chen et al. 2021, arXiv 2107.03374, Eq. 1).

  Args:
    num_samples: n ≥ k.
    num_proved: c ≤ n.
    k: attempts allowed.

  Raises:
    ValueError: k > n, where the estimate does not exist.
  """
  if k > num_samples:
    raise ValueError(f"pass@{k} needs at least {k} samples, got {num_samples}")
  if num_samples - num_proved < k:
    return 1.0
  factors = np.arange(num_samples - num_proved + 1, num_samples + 1)
  return float(1.0 - np.prod(1.0 - k / factors))


def interval(values: Sequence[float]) -> tuple[float, float]:
  """95 % bootstrap interval of the mean over problems (2,000 resamples)."""
  values_P = np.asarray(values)
  rng = np.random.default_rng(0)
  draws = rng.integers(0, len(values_P), (2000, len(values_P)))
  low, high = np.quantile(values_P[draws].mean(axis=1), [0.025, 0.975])
  return float(low), float(high)


def metrics(found: Sequence[Outcome], ks: Sequence[int]) -> dict[str, float]:
  """`eval/pass@k` over all problems, `eval/solve/<source>` per source.

  A problem with fewer than k verdicts (the infrastructure lost some) is left
  out of pass@k.
  """
  values = {}
  for k in ks:
    passes = _passes(found, k)
    if passes:
      values[f"eval/pass@{k}"] = float(np.mean(passes))
  for source, group in _by_source(found).items():
    rates = _passes(group, 1)
    if rates:
      values[f"eval/solve/{source}"] = float(np.mean(rates))
  return values


def check_ks(ks: Sequence[int], num_samples: int) -> None:
  """Raises UsageError for a k that the samples cannot estimate."""
  if not ks or min(ks) < 1 or max(ks) > num_samples:
    raise UsageError(
      f"eval.ks = {tuple(ks)} must lie between 1 and eval.num_samples = "
      f"{num_samples}"
    )


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
  problems = eval_problems(job)
  _sample(job, problems, path)
  if distributed.is_first():
    found = count_rows(records.read(path))
    _write_result(job, found)
    Console().print(table(found, config.eval.ks))


def table(found: Sequence[Outcome], ks: Sequence[int]) -> Table:
  """pass@k in percent with 95 % intervals, for each source and for all."""
  view = Table("source", "problems")
  for k in ks:
    view.add_column(f"pass@{k} %", justify="right", no_wrap=True)
  groups = _by_source(found)
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
    preemption.install()
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
      log.write(step, metrics(count(samples), config.eval.ks))


def _num_done(
  path: pathlib.Path, parts: Sequence[Sequence[Problem]], num_samples: int
) -> int:
  """How many parts an earlier start has completed."""
  if not path.exists():
    return 0
  rows = collections.Counter(
    (row["step"], row["name"]) for row in records.read(path)
  )
  whole = (
    all(rows[step, problem.name] == num_samples for problem in part)
    for step, part in enumerate(parts)
  )
  return sum(itertools.takewhile(bool, whole))


def _write_result(job: Job, found: Sequence[Outcome]) -> None:
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
    **metrics(found, job.config.eval.ks),
  }
  path = job.run_dir / "result.json"
  path.write_text(json.dumps(result, indent=2, ensure_ascii=False))


def _cell(found: Sequence[Outcome], k: int) -> str:
  passes = _passes(found, k)
  if not passes:
    return "–"
  low, high = interval(passes)
  return f"{100 * np.mean(passes):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _passes(found: Sequence[Outcome], k: int) -> list[float]:
  return [
    pass_at_k(one.num_samples, one.num_proved, k)
    for one in found
    if one.num_samples >= k
  ]


def _by_source(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
  groups: dict[str, list[Outcome]] = {}
  for one in found:
    groups.setdefault(one.source, []).append(one)
  return dict(sorted(groups.items()))


if __name__ == "__main__":
  cli.run_experiment(
    evaluate,
    default="configs/eval_minif2f.py",
    checkpoint="Run or model directory to evaluate.",
    run_dir="Directory of this evaluation.",
  )
