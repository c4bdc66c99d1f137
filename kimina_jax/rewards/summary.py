"""One iteration's samples as the numbers that a team watches.

In: judged samples. Out: a flat dict of floats for the metric files. A mean
over nothing is left out rather than invented.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from kimina_jax.types import Sample, Status


def summarize(samples: Sequence[Sample]) -> dict[str, float]:
  """Rewards, groups, formats and lengths of an iteration.

  Args:
    samples: of whole groups; the samples of one problem are neighbours.

  Returns:
    `reward/…`, `group/…` (shares of problems), `format/…`, `response/…`
    (lengths in tokens) and `verdict/<status>` (shares of samples).
  """
  judged = [s for s in samples if s.reward is not None]
  return {
    **_mean("reward/mean", (s.reward for s in judged)),
    **_mean("reward/proved", (s.verdict.proved for s in samples)),
    **_mean("reward/excluded", (s.reward is None for s in samples)),
    **_mean("reward/dropped", (s.dropped for s in samples)),
    **_groups(judged),
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
  """Problem name → (proofs in the pattern, attempts), for the curriculum.

  Attempts that the infrastructure lost do not count, nor do canaries.
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


def _groups(judged: Sequence[Sample]) -> dict[str, float]:
  """Only mixed groups teach: elsewhere every advantage is zero."""
  groups = [
    [sample.reward for sample in group]
    for _, group in itertools.groupby(
      judged, key=lambda s: (s.rollout.iteration, s.rollout.prompt.problem.name)
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
      "response/truncated", (s.rollout.stop == "length" for s in samples)
    ),
    **_mean(
      "response/repetition", (s.rollout.stop == "repetition" for s in samples)
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
