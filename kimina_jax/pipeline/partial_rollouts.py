"""Partial rollouts: rollouts that continue in the next iteration.

With a budget of tokens (train.tokens_per_iteration) an iteration ends while
some rollouts are unfinished. Their problems stay in flight: the next iteration
samples the rest (Kimi k1.5, arXiv 2501.12599). An advantage needs all
k rollouts of a problem, so the finished ones of such a problem are kept with
their verdicts.

In: the samples and the unfinished rollouts of an iteration. Out: the samples
of complete groups, and PartialGroups for the next iteration; for a checkpoint,
these as JSON, bit for bit. It never samples, verifies or learns.
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
  carried: Iterable[PartialGroup],
  samples: Iterable[Sample],
  unfinished: Iterable[Rollout],
  *,
  num_per_problem: int,
) -> tuple[list[Sample], list[PartialGroup]]:
  """Separates complete groups from partial ones.

  Args:
    carried: partial groups that the iteration started with.
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
  waiting = itertools.chain.from_iterable(group.finished for group in carried)
  finished = _by_group(
    [*waiting, *samples], lambda sample: sample.rollout, num_per_problem
  )
  begun = _by_group(unfinished, lambda rollout: rollout, num_per_problem)
  complete: list[Sample] = []
  partial: list[PartialGroup] = []
  for key in sorted(finished.keys() | begun.keys()):
    group = PartialGroup(
      tuple(finished.get(key, ())), tuple(begun.get(key, ()))
    )
    size = len(group.finished) + len(group.unfinished)
    if size != num_per_problem:
      raise ValueError(f"group {key} has {size} of {num_per_problem} rollouts")
    if group.unfinished:
      partial.append(group)
    else:
      complete += group.finished
  return complete, partial


def partial_rollout_metrics(
  carried: Sequence[PartialGroup],
  samples: Sequence[Sample],
  partial: Sequence[PartialGroup],
) -> dict[str, float]:
  """Metrics of an iteration's complete and partial groups.

  Args:
    carried: partial groups that the iteration started with.
    samples: samples of the groups that it completed.
    partial: groups that it leaves to the next iteration.

  Returns:
    rollout/samples: number of samples to learn from; at 0 there is no update.
    rollout/carried: number of partial groups.
    rollout/finished: share of the rollouts in flight that ended.
    rollout/stale: share of the samples' tokens that earlier iterations
      sampled.
  """
  waited = {_key(s.rollout) for group in carried for s in group.finished}
  num_unfinished = sum(len(group.unfinished) for group in partial)
  num_verified = len(samples) + sum(len(group.finished) for group in partial)
  num_ended = num_verified - len(waited)
  rollouts = [sample.rollout for sample in samples]
  num_stale = sum(
    len(r.tokens) if _key(r) in waited else r.num_carried for r in rollouts
  )
  num_tokens = sum(len(rollout.tokens) for rollout in rollouts)
  return {
    "rollout/samples": float(len(samples)),
    "rollout/carried": float(len(partial)),
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
  """What identifies a rollout in its run."""
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
  fields = ("iteration", "index", "text", "num_carried")
  saved = {name: getattr(rollout, name) for name in fields}
  # Checkpoints of all versions have the stop reason under `stop`.
  saved["stop"] = rollout.stop_reason
  return saved | {
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
