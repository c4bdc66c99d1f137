"""Partial rollouts: what an iteration leaves unfinished, the next goes on with.

Comes in: what an iteration judged and what it could not finish. Goes out: the
samples of whole groups to learn from, and Groups to carry over; these also as
JSON, bit for bit, for the checkpoint (Kimi k1.5, arXiv 2501.12599, partial
rollouts). It never samples, judges or learns.

A rollout that ended waits for the others of its group with its verdict, since
an advantage needs them all.
"""

import base64
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import Tokenizer
from kimina_jax.types import Problem, Prompt, Rollout, Sample, Verdict

T = TypeVar("T")

_ARRAYS = {"tokens": "<i4", "logps": "<f4", "model_logps": "<f4"}
# Names of fields in older checkpoints.
_OLD_NAMES = {"step": "iteration", "row": "index"}


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
  """The k rollouts of one problem, not all of which are finished.

  Attributes:
    judged: those that are, without an advantage yet.
    begun: those that are not, at least one.
  """

  judged: tuple[Sample, ...]
  begun: tuple[Rollout, ...]


def sort_out(
  carried: Iterable[Group],
  judged: Iterable[Sample],
  unfinished: Iterable[Rollout],
  *,
  num_per_problem: int,
) -> tuple[list[Sample], list[Group]]:
  """Tells whole groups from those to carry over.

  Args:
    carried: groups that the iteration went on with.
    judged: what ended in it ...
    unfinished: ... and what did not.
    num_per_problem: k.

  Returns:
    The samples of whole groups and the other groups, both in the order in
    which the rollouts began: k samples of one problem, then of the next.

  Raises:
    ValueError: a group has not k rollouts.
  """
  waited = itertools.chain.from_iterable(group.judged for group in carried)
  samples = _by_group((*waited, *judged), lambda s: s.rollout, num_per_problem)
  begun = _by_group(unfinished, lambda rollout: rollout, num_per_problem)
  whole, left = [], []
  for key in sorted(samples.keys() | begun.keys()):
    group = Group(tuple(samples.get(key, ())), tuple(begun.get(key, ())))
    size = len(group.judged) + len(group.begun)
    if size != num_per_problem:
      raise ValueError(f"group {key} has {size} of {num_per_problem} rollouts")
    if group.begun:
      left.append(group)
    else:
      whole += group.judged
  return whole, left


def summarize(
  carried: Sequence[Group],
  samples: Sequence[Sample],
  left: Sequence[Group],
) -> dict[str, float]:
  """What an iteration finished, and how old it is.

  Args:
    carried: groups that it went on with.
    samples: of the groups that it completed.
    left: groups that it leaves to the next.

  Returns:
    rollout/samples: to learn from; without any there is no update.
    rollout/carried: groups left.
    rollout/finished: share of the rollouts in flight that ended.
    rollout/stale: share of the samples' tokens that earlier iterations drew.
  """
  waited = {_place(s.rollout) for group in carried for s in group.judged}
  num_left = sum(len(group.begun) for group in left)
  num_judged = len(samples) + sum(len(group.judged) for group in left)
  num_ended = num_judged - len(waited)
  rollouts = [sample.rollout for sample in samples]
  num_stale = sum(
    len(r.tokens) if _place(r) in waited else r.num_carried for r in rollouts
  )
  num_tokens = sum(len(rollout.tokens) for rollout in rollouts)
  return {
    "rollout/samples": float(len(samples)),
    "rollout/carried": float(len(left)),
    "rollout/finished": num_ended / (num_ended + num_left),
    **({"rollout/stale": num_stale / num_tokens} if num_tokens else {}),
  }


def state(groups: Iterable[Group]) -> list[dict[str, Any]]:
  """Carried groups as JSON; arrays are base64 of their bytes."""
  return [
    {
      "problem": dataclasses.asdict(group.begun[0].prompt.problem),
      "judged": [_save_sample(sample) for sample in group.judged],
      "begun": [_save_rollout(rollout) for rollout in group.begun],
    }
    for group in groups
  ]


def restore(
  saved: Iterable[Mapping[str, Any]], tokenizer: Tokenizer
) -> list[Group]:
  """The groups of a `state`; prompts are made again."""
  groups = []
  for group in saved:
    prompt = make_prompt(Problem(**group["problem"]), tokenizer)
    groups.append(
      Group(
        judged=tuple(_load_sample(prompt, s) for s in group["judged"]),
        begun=tuple(_load_rollout(prompt, r) for r in group["begun"]),
      )
    )
  return groups


def _by_group(
  items: Iterable[T], rollout_of: Callable[[T], Rollout], num_per_problem: int
) -> dict[tuple[int, int], list[T]]:
  """By iteration and problem; in the order in which they began."""
  ordered = sorted(items, key=lambda item: _place(rollout_of(item)))

  def group(item: T) -> tuple[int, int]:
    iteration, index = _place(rollout_of(item))
    return iteration, index // num_per_problem

  return {
    key: list(members) for key, members in itertools.groupby(ordered, group)
  }


def _place(rollout: Rollout) -> tuple[int, int]:
  """What tells a rollout from all others of its run."""
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
  fields = ("index", "text", "stop", "iteration", "num_carried")
  return {name: getattr(rollout, name) for name in fields} | {
    name: base64.b64encode(
      getattr(rollout, name).astype(dtype, casting="equiv").tobytes()
    ).decode()
    for name, dtype in _ARRAYS.items()
  }


def _load_rollout(prompt: Prompt, saved: Mapping[str, Any]) -> Rollout:
  arrays = {
    name: np.frombuffer(base64.b64decode(saved[name]), dtype)
    for name, dtype in _ARRAYS.items()
  }
  fields = {_OLD_NAMES.get(name, name): saved[name] for name in saved}
  return Rollout(prompt=prompt, **{**fields, **arrays})
