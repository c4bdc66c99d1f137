"""Partial rollouts: rollouts that continue in the next iteration.

With a budget of tokens (train.tokens_per_iteration) an iteration ends while
some rollouts are unfinished; the next iteration samples the rest of their
tokens (Kimi k1.5, arXiv 2501.12599). An advantage needs all k rollouts of a
problem, its group. A group with unfinished rollouts is a partial group: it is
carried over to the next iteration whole, with its finished rollouts and their
verdicts, and nothing is learned from it until it is complete.

In: the samples and the unfinished rollouts of an iteration. Out: the samples
of complete groups, and PartialGroups to carry over; for a checkpoint, these as
JSON, bit for bit. It never samples, verifies or learns.
"""

import base64
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from kimina_jax.types import Problem, Prompt, Rollout, Sample, Verdict

T = TypeVar("T")

_DTYPES = {"tokens": "<i4", "logps": "<f4", "model_logps": "<f4"}


@dataclasses.dataclass(frozen=True, eq=False)
class PartialGroup:
  """The k rollouts of one problem, at least one of them unfinished.

  Attributes:
    finished: the verified ones, without an advantage yet.
    unfinished: the others, with the tokens sampled so far.
  """

  finished: tuple[Sample, ...]
  unfinished: tuple[Rollout, ...]


def split_groups(
  carried_over: Iterable[PartialGroup],
  samples: Iterable[Sample],
  unfinished: Iterable[Rollout],
  *,
  num_per_problem: int,
) -> tuple[list[Sample], list[PartialGroup]]:
  """Separates complete groups from partial ones.

  Args:
    carried_over: partial groups that the previous iteration left.
    samples: rollouts that ended in it, verified, in any order.
    unfinished: rollouts that did not end, in any order.
    num_per_problem: k.

  Returns:
    The samples of the complete groups, and the partial groups. Both are in the
    order in which their rollouts began: k samples of one problem, then of the
    next.

  Raises:
    ValueError: a group does not have k rollouts.
  """
  finished_before = itertools.chain.from_iterable(
    group.finished for group in carried_over
  )
  finished_of = _by_group(
    [*finished_before, *samples], lambda sample: sample.rollout, num_per_problem
  )
  unfinished_of = _by_group(
    unfinished, lambda rollout: rollout, num_per_problem
  )
  complete: list[Sample] = []
  partial_groups: list[PartialGroup] = []
  for key in sorted(finished_of.keys() | unfinished_of.keys()):
    group = PartialGroup(
      tuple(finished_of.get(key, ())), tuple(unfinished_of.get(key, ()))
    )
    size = len(group.finished) + len(group.unfinished)
    if size != num_per_problem:
      raise ValueError(f"group {key} has {size} of {num_per_problem} rollouts")
    if group.unfinished:
      partial_groups.append(group)
    else:
      complete += group.finished
  return complete, partial_groups


def partial_rollout_metrics(
  carried_over: Sequence[PartialGroup],
  samples: Sequence[Sample],
  partial_groups: Sequence[PartialGroup],
) -> dict[str, float]:
  """Metrics of an iteration's complete and partial groups.

  Args:
    carried_over: partial groups that the previous iteration left.
    samples: samples of the groups that it completed.
    partial_groups: those that it leaves, carried over to the next iteration.

  Returns:
    rollout/samples: number of samples to learn from; at 0 there is no update.
    rollout/carried: number of partial groups (problems, not rollouts) that are
      carried over to the next iteration.
    rollout/finished: share of the rollouts sampled in this iteration, those of
      earlier ones that it continued included, that ended in it.
    rollout/stale: share of the samples' tokens that earlier iterations drew,
      with older weights.
  """
  finished_before = {
    _key(s.rollout) for group in carried_over for s in group.finished
  }
  num_unfinished = sum(len(group.unfinished) for group in partial_groups)
  num_verified = len(samples) + sum(
    len(group.finished) for group in partial_groups
  )
  num_ended = num_verified - len(finished_before)
  rollouts = [sample.rollout for sample in samples]
  num_stale = sum(
    len(r.tokens) if _key(r) in finished_before else r.num_carried
    for r in rollouts
  )
  num_tokens = sum(len(rollout.tokens) for rollout in rollouts)
  return {
    "rollout/samples": float(len(samples)),
    "rollout/carried": float(len(partial_groups)),
    "rollout/finished": num_ended / (num_ended + num_unfinished),
    **({"rollout/stale": num_stale / num_tokens} if num_tokens else {}),
  }


def to_json(groups: Iterable[PartialGroup]) -> list[dict[str, Any]]:
  """Partial groups as JSON; an array is the base64 of its bytes."""
  return [
    {
      "problem": dataclasses.asdict(group.unfinished[0].prompt.problem),
      "finished": [_save_sample(sample) for sample in group.finished],
      "unfinished": [_save_rollout(rollout) for rollout in group.unfinished],
    }
    for group in groups
  ]


def from_json(
  saved: Iterable[Mapping[str, Any]], make_prompt: Callable[[Problem], Prompt]
) -> list[PartialGroup]:
  """The partial groups of `to_json`, with prompts made by `make_prompt`."""
  groups = []
  for group in saved:
    prompt = make_prompt(Problem(**group["problem"]))
    groups.append(
      PartialGroup(
        finished=tuple(_load_sample(prompt, s) for s in group["finished"]),
        unfinished=tuple(_load_rollout(prompt, r) for r in group["unfinished"]),
      )
    )
  return groups


def _by_group(
  items: Iterable[T], rollout_of: Callable[[T], Rollout], num_per_problem: int
) -> dict[tuple[int, int], list[T]]:
  """Items by (iteration, problem index), each list in the rollouts' order."""
  ordered = sorted(items, key=lambda item: _key(rollout_of(item)))

  def group_key(item: T) -> tuple[int, int]:
    iteration, index = _key(rollout_of(item))
    return iteration, index // num_per_problem

  return {
    key: list(members) for key, members in itertools.groupby(ordered, group_key)
  }


def _key(rollout: Rollout) -> tuple[int, int]:
  """The identity of a rollout in its run."""
  return rollout.iteration, rollout.index


def _save_sample(sample: Sample) -> dict[str, Any]:
  return {
    "rollout": _save_rollout(sample.rollout),
    "verdict": dataclasses.asdict(sample.verdict),
    "format_error": sample.format_error,
    "reward": sample.reward,
  }


def _load_sample(prompt: Prompt, saved: Mapping[str, Any]) -> Sample:
  return Sample(
    rollout=_load_rollout(prompt, saved["rollout"]),
    verdict=Verdict.from_json(saved["verdict"]),
    format_error=saved["format_error"],
    reward=saved["reward"],
  )


def _save_rollout(rollout: Rollout) -> dict[str, Any]:
  fields = {
    "iteration": rollout.iteration,
    "index": rollout.index,
    "text": rollout.text,
    "stop": rollout.stop_reason,  # under this key in all versions
    "num_carried": rollout.num_carried,
  }
  return fields | {
    name: base64.b64encode(
      getattr(rollout, name).astype(dtype, casting="equiv").tobytes()
    ).decode()
    for name, dtype in _DTYPES.items()
  }


def _load_rollout(prompt: Prompt, saved: Mapping[str, Any]) -> Rollout:
  arrays = {
    name: np.frombuffer(base64.b64decode(saved[name]), dtype)
    for name, dtype in _DTYPES.items()
  }
  fields = {**saved, **arrays}
  fields["stop_reason"] = fields.pop("stop")
  return Rollout(prompt=prompt, **fields)
