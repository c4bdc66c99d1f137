"""pass@k: the probability that one of k rollouts proves a problem.

In: judged samples, or rows of rollouts.jsonl. Out: the number of rollouts and
of proofs of each problem, the unbiased estimate of pass@k from them, and its
bootstrap interval over problems. Every number that an evaluation reports is
computed here; evaluate.py only samples and prints.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kimina_jax.types import Sample, Status

_NUM_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class SolveCount:
  """Numbers of rollouts of one problem: verified ones, and proofs.

  Attributes:
    name: of the problem.
    source: its family or competition.
    num_samples: n, rollouts with a verdict; infrastructure errors do not
      count.
    num_proved: c, those of them that proved the problem.
  """

  name: str
  source: str
  num_samples: int
  num_proved: int


def count_solved(samples: Iterable[Sample]) -> list[SolveCount]:
  """Counts the proofs of each problem, in order of first appearance."""
  return count_solved_rows(
    {
      "name": sample.rollout.prompt.problem.name,
      "source": sample.rollout.prompt.problem.source,
      "verdict": sample.verdict.status,
    }
    for sample in samples
  )


def count_solved_rows(rows: Iterable[Mapping[str, str]]) -> list[SolveCount]:
  """Counts the proofs of each problem in rows of rollouts.jsonl."""
  counts: dict[tuple[str, str], list[int]] = {}
  for row in rows:
    found = counts.setdefault((row["name"], row["source"]), [0, 0])
    if row["verdict"] != Status.INFRA_ERROR:
      found[0] += 1
      found[1] += row["verdict"] == Status.PROVED
  return [SolveCount(*key, *found) for key, found in counts.items()]


def pass_at_k(num_samples: int, num_proved: int, k: int) -> float:
  """Unbiased estimate of P(at least one of k samples proves the problem).

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


def pass_estimates(counts: Iterable[SolveCount], k: int) -> list[float]:
  """pass@k of each problem; one with fewer than k verdicts is left out."""
  return [
    pass_at_k(one.num_samples, one.num_proved, k)
    for one in counts
    if one.num_samples >= k
  ]


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
  """95 % bootstrap interval of the mean over problems (2,000 resamples)."""
  values_I = np.asarray(values)
  rng = np.random.default_rng(0)
  draws = rng.integers(0, len(values_I), (_NUM_RESAMPLES, len(values_I)))
  low, high = np.quantile(values_I[draws].mean(axis=1), [0.025, 0.975])
  return float(low), float(high)


def by_source(counts: Iterable[SolveCount]) -> dict[str, list[SolveCount]]:
  """The counts of each source, sources in alphabetical order."""
  groups: dict[str, list[SolveCount]] = {}
  for one in counts:
    groups.setdefault(one.source, []).append(one)
  return dict(sorted(groups.items()))


def pass_metrics(
  counts: Sequence[SolveCount], ks: Sequence[int]
) -> dict[str, float]:
  """`eval/pass@k` over all problems, `eval/solve/<source>` per source.

  `eval/solve/<source>` is pass@1. A problem with fewer than k verdicts (the
  infrastructure lost some) is left out of pass@k.
  """
  metrics = {}
  for k in ks:
    estimates = pass_estimates(counts, k)
    if estimates:
      metrics[f"eval/pass@{k}"] = float(np.mean(estimates))
  for source, group in by_source(counts).items():
    rates = pass_estimates(group, 1)
    if rates:
      metrics[f"eval/solve/{source}"] = float(np.mean(rates))
  return metrics
