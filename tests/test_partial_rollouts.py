"""Partial rollouts: nothing is lost, learned from twice, or rounded."""

import functools
import json

import numpy as np
import pytest

from kimina_jax.pipeline.partial_rollouts import (
  PartialGroup,
  from_json,
  partial_rollout_metrics,
  split_groups,
  to_json,
)
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import load_tokenizer
from kimina_jax.types import (
  Message,
  Problem,
  Rollout,
  Sample,
  Status,
  Verdict,
)

PROMPT = functools.partial(make_prompt, tokenizer=load_tokenizer("embedded"))
K = 3


def rollout(
  iteration, index, *, length=4, stop="stop", num_carried=0, text="…"
):
  rng = np.random.default_rng([iteration, index])
  problem = Problem(
    f"p{iteration}_{index // K}", "import Mathlib\n", "theorem t : 1"
  )
  logps = rng.standard_normal((2, length)).astype(np.float32)
  return Rollout(
    prompt=PROMPT(problem),
    index=index,
    tokens=rng.integers(0, 99, length).astype(np.int32),
    logps=logps[0],
    model_logps=logps[1],
    text=text,
    stop_reason=stop,
    iteration=iteration,
    num_carried=num_carried,
  )


def sample(*args, status=Status.PROVED, reward=1.0, **options):
  return Sample(rollout(*args, **options), Verdict(status), reward=reward)


def unfinished(*args, **options):
  return rollout(*args, stop="budget", **options)


def split(carried, samples, unfinished):
  return split_groups(carried, samples, unfinished, num_per_problem=K)


def keys(items):
  rollouts = [getattr(item, "rollout", item) for item in items]
  return [(r.iteration, r.index) for r in rollouts]


def test_whole_groups_are_done_and_the_others_wait():
  judged = [sample(1, row) for row in (4, 0, 2, 8)]
  begun = [unfinished(1, row) for row in (7, 1, 6)]
  older = PartialGroup((sample(0, 3), sample(0, 5)), (unfinished(0, 4),))
  judged += [sample(0, 4), sample(1, 3), sample(1, 5)]
  complete, partial = split([older], judged, begun)
  # Row 4 is another rollout in each of the two iterations.
  assert keys(complete) == [(0, 3), (0, 4), (0, 5), (1, 3), (1, 4), (1, 5)]
  assert [keys(group.finished) for group in partial] == [
    [(1, 0), (1, 2)],
    [(1, 8)],
  ]
  assert [keys(group.unfinished) for group in partial] == [
    [(1, 1)],
    [(1, 6), (1, 7)],
  ]


def test_without_a_budget_all_samples_come_back_in_order():
  judged = [sample(5, row) for row in (3, 1, 5, 0, 4, 2)]
  complete, partial = split([], judged, [])
  assert keys(complete) == [(5, row) for row in range(6)]
  assert not partial


def test_a_lost_rollout_is_noticed():
  with pytest.raises(ValueError, match=r"\(2, 0\) has 2 of 3"):
    split([], [sample(2, 0)], [unfinished(2, 2)])


def test_every_rollout_is_learned_from_once():
  """Many iterations of a sampler that ends rollouts at random."""
  rng = np.random.default_rng(0)
  num_problems, num_steps = 5, 60
  carried, learned, largest = [], [], 0
  for step in range(num_steps):
    num_new = num_problems - len(carried)
    fresh = [unfinished(step, row) for row in range(num_new * K)]
    flight = [r for group in carried for r in group.unfinished] + fresh
    ended = rng.random(len(flight)) < 0.3
    judged = [
      sample(r.iteration, r.index)
      for r, e in zip(flight, ended, strict=True)
      if e
    ]
    begun = [r for r, e in zip(flight, ended, strict=True) if not e]
    complete, carried = split(carried, judged[::-1], begun)
    saved = json.loads(json.dumps(to_json(carried)))
    carried = from_json(saved, PROMPT)
    assert len(complete) % K == 0
    assert len(complete) // K + len(carried) == num_problems
    learned += keys(complete)
    largest = max(largest, len(carried))
  waiting = [
    place
    for group in carried
    for place in keys(group.finished) + keys(group.unfinished)
  ]
  begun = learned + waiting
  assert len(set(begun)) == len(begun)
  by_step = [
    [row for s, row in begun if s == step] for step in range(num_steps)
  ]
  assert all(sorted(rows) == list(range(len(rows))) for rows in by_step)
  assert largest == num_problems


def test_what_is_carried_over_a_checkpoint_is_the_same():
  message = Message("error", 3, 2, 3, 10, "unsolved goals\n⊢ x = 3")
  verdict = Verdict(
    Status.LEAN_ERROR,
    messages=(message, message),
    axioms=("propext",),
    detail="why",
    exec_s=0.1,
  )
  # Half a surrogate pair, as a byte-level tokenizer may leave it.
  ended = rollout(3, 1, text="\ud83d ⊢", num_carried=2)
  group = PartialGroup(
    finished=(
      Sample(ended, verdict, format_error="no </think>", reward=0.0),
      sample(3, 2, status=Status.INFRA_ERROR, reward=None),
    ),
    unfinished=(unfinished(3, 0, length=0),),
  )
  saved = json.loads(json.dumps(to_json([group])))
  (found,) = from_json(saved, PROMPT)
  for ours, theirs in zip(found.finished, group.finished, strict=True):
    assert ours.verdict == theirs.verdict
    assert ours.format_error == theirs.format_error
    assert ours.reward == theirs.reward
    assert_same(ours.rollout, theirs.rollout)
  assert_same(found.unfinished[0], group.unfinished[0])


def test_log_probabilities_keep_every_bit():
  bits = np.random.default_rng(0).integers(0, 2**32, 4096, np.uint32)
  odd = np.float32([-0.0, np.inf, -np.inf, np.nan, 1e-45, -3.4e38])
  logps = np.concatenate([bits.view(np.float32), odd])
  one = rollout(0, 0)
  begun = Rollout(
    one.prompt, 0, np.zeros(len(logps), np.int32), logps, -logps, "", "budget"
  )
  saved = json.loads(json.dumps(to_json([PartialGroup((), (begun,))])))
  (found,) = from_json(saved, PROMPT)
  assert found.unfinished[0].logps.tobytes() == logps.tobytes()
  assert found.unfinished[0].model_logps.tobytes() == (-logps).tobytes()


def test_the_numbers_of_an_iteration():
  """By hand: 3 problems in flight, one of which had two rollouts waiting."""
  waited = [sample(0, 0, length=10), sample(0, 1, length=20)]
  carried = [PartialGroup(tuple(waited), (unfinished(0, 2, length=5),))]
  judged = [
    sample(0, 2, length=30, num_carried=5),
    *(sample(1, row, length=40) for row in (0, 1, 2, 3)),
  ]
  begun = [unfinished(1, 4), unfinished(1, 5)]
  complete, partial = split(carried, judged, begun)
  assert partial_rollout_metrics(carried, complete, partial) == {
    "rollout/samples": 6,
    "rollout/carried": 1,
    # 7 were in flight.
    "rollout/finished": 5 / 7,
    "rollout/stale": (10 + 20 + 5) / (10 + 20 + 30 + 3 * 40),
  }


def test_an_iteration_that_completes_nothing_has_no_mean():
  begun = [unfinished(0, row) for row in range(3)]
  complete, partial = split([], [], begun)
  assert partial_rollout_metrics([], complete, partial) == {
    "rollout/samples": 0,
    "rollout/carried": 1,
    "rollout/finished": 0,
  }


def assert_same(ours, theirs):
  for name in ("index", "text", "stop_reason", "iteration", "num_carried"):
    assert getattr(ours, name) == getattr(theirs, name)
  for name in ("tokens", "logps", "model_logps"):
    mine, other = getattr(ours, name), getattr(theirs, name)
    assert mine.dtype == other.dtype
    assert mine.tobytes() == other.tobytes()
  assert ours.prompt.problem == theirs.prompt.problem
  assert ours.prompt.text == theirs.prompt.text
  np.testing.assert_array_equal(ours.prompt.tokens, theirs.prompt.tokens)
