"""Metrics of an iteration's samples: rewards, groups, formats, lengths.

In: judged samples. Out: a flat dict of floats for the metrics files, and the
solve counts that the curriculum records. The mean of no samples is left out.

| metric | meaning |
| --- | --- |
| `reward/mean` | mean reward of the samples that have one |
| `reward/proved` | share of samples that the checker proved |
| `reward/excluded` | share of samples without a reward |
| `reward/dropped` | share of samples that are dropped from the loss |
| `group/all_0` | share of groups in which no reward is above 0 |
| `group/all_1` | share of groups in which every reward is at least 1 |
| `group/mixed` | share of groups whose rewards differ |
| `format/failed` | share of samples that the format gate refused |
| `response/len_mean` | mean length in tokens |
| `response/len_right` | mean length of the samples that were proved |
| `response/len_wrong` | mean length of the others |
| `response/truncated` | share that was cut at the maximum length |
| `response/repetition` | share that was stopped because it repeated itself |
| `canary/tried` | number of samples of canaries |
| `canary/proved` | number of those that the checker accepted |
| `verdict/<status>` | share of samples with this status, if there are any |
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from kimina_jax.types import Sample, Status


def sample_metrics(samples: Sequence[Sample]) -> dict[str, float]:
  """Computes the metrics of an iteration (see above).

  Args:
    samples: of whole groups; the samples of one problem are neighbours.
  """
  rewards = [s.reward for s in samples if s.reward is not None]
  return {
    **_mean("reward/mean", rewards),
    **_mean("reward/proved", (s.verdict.proved for s in samples)),
    **_mean("reward/excluded", (s.reward is None for s in samples)),
    **_mean("reward/dropped", (s.dropped for s in samples)),
    **_groups(samples),
    **_mean("format/failed", (bool(s.format_error) for s in samples)),
    **_lengths(samples),
    **_canaries(samples),
    **{
      f"verdict/{status}": value
      for status, value in _shares(samples, lambda s: s.verdict.status).items()
      if value
    },
  }


def solve_counts(samples: Iterable[Sample]) -> dict[str, tuple[int, int]]:
  """Counts problem name -> (proofs in the pattern, attempts).

  The curriculum records them. Attempts that the infrastructure lost do not
  count, nor do canaries.
  """
  counts: dict[str, tuple[int, int]] = {}
  for sample in samples:
    problem = sample.rollout.prompt.problem
    if (
      sample.verdict.status is not Status.INFRA_ERROR and not problem.is_canary
    ):
      name = problem.name
      proofs, attempts = counts.get(name, (0, 0))
      solved = sample.verdict.proved and not sample.format_error
      counts[name] = (proofs + solved, attempts + 1)
  return counts


def disputed(samples: Iterable[Sample]) -> set[str]:
  """Names of the problems on a proof of which two verifiers disagree.

  Canaries are left out: they are no problems of the curriculum.
  """
  problems = (
    sample.rollout.prompt.problem
    for sample in samples
    if sample.verdict.status is Status.DISPUTED
  )
  return {problem.name for problem in problems if not problem.is_canary}


def _groups(samples: Iterable[Sample]) -> dict[str, float]:
  """Shares of groups by their rewards; excluded samples do not count.

  Only groups with unequal rewards give a gradient: in the others every
  advantage is zero.
  """
  keys_and_rewards = (
    ((s.rollout.iteration, s.rollout.prompt.problem.name), s.reward)
    for s in samples
    if s.reward is not None
  )
  groups = [
    [reward for _, reward in group]
    for _, group in itertools.groupby(
      keys_and_rewards, key=lambda pair: pair[0]
    )
  ]
  return {
    **_mean("group/all_0", (max(g) <= 0 for g in groups)),
    **_mean("group/all_1", (min(g) >= 1 for g in groups)),
    **_mean("group/mixed", (max(g) > min(g) for g in groups)),
  }


def _canaries(samples: Sequence[Sample]) -> dict[str, float]:
  if not samples:
    return {}
  tried = [s for s in samples if s.rollout.prompt.problem.is_canary]
  return {
    "canary/tried": float(len(tried)),
    "canary/proved": float(sum(s.verdict.proved for s in tried)),
  }


def _lengths(samples: Sequence[Sample]) -> dict[str, float]:
  def lengths(keep: Callable[[Sample], bool]) -> Iterable[int]:
    return (len(s.rollout.tokens) for s in samples if keep(s))

  return {
    **_mean("response/len_mean", lengths(lambda s: True)),
    **_mean("response/len_right", lengths(lambda s: s.verdict.proved)),
    **_mean("response/len_wrong", lengths(lambda s: not s.verdict.proved)),
    **_mean(
      "response/truncated", (s.rollout.stop_reason == "length" for s in samples)
    ),
    **_mean(
      "response/repetition",
      (s.rollout.stop_reason == "repetition" for s in samples),
    ),
  }


def _shares(
  samples: Sequence[Sample], key: Callable[[Sample], Status]
) -> Mapping[Status, float]:
  found = [key(sample) for sample in samples]
  return {s: found.count(s) / len(found) for s in Status if found}


def _mean(name: str, values: Iterable[float]) -> dict[str, float]:
  values = [float(value) for value in values]
  return {name: sum(values) / len(values)} if values else {}
