"""Draws follow the solve rates, and a restored curriculum draws the same."""

import json
from collections import Counter

import numpy as np
import pytest

from kimina_jax.problems.curriculum import Curriculum, CurriculumSettings
from kimina_jax.types import Problem, UsageError

_NAMES = "abcdefgh"


def _problems(names=_NAMES):
  return [Problem(name, "", f"theorem {name} := by") for name in names]


def _curriculum(prioritized=True, prune_after=0, seed=0, names=_NAMES):
  return Curriculum(
    _problems(names),
    CurriculumSettings(prioritized=prioritized, prune_after=prune_after),
    seed=seed,
  )


def _drawn(curriculum, step, count):
  return [p.name for p in curriculum.draw(step, count)]


def _shares(curriculum, num_steps=4000):
  counts = Counter(_drawn(curriculum, s, 1)[0] for s in range(num_steps))
  return {name: counts[name] / num_steps for name in _NAMES}


def test_a_draw_depends_on_seed_and_step_alone():
  one, two = _curriculum(), _curriculum()
  two.draw(7, 3)
  assert _drawn(one, 1, 4) == _drawn(two, 1, 4)
  draws = {tuple(_drawn(one, step, 4)) for step in range(20)}
  assert len(draws) > 15
  others = [_drawn(_curriculum(seed=1), step, 4) for step in range(20)]
  assert others != [_drawn(one, step, 4) for step in range(20)]


def test_no_problem_comes_twice_while_others_wait():
  curriculum = _curriculum()
  curriculum.record(0, {"a": (8, 8), "b": (8, 8)})
  for step in range(50):
    assert len(set(_drawn(curriculum, step, 8))) == 8
    twice = Counter(_drawn(curriculum, step, 19))
    assert set(twice.values()) == {2, 3}
    assert sum(twice.values()) == 19


def test_shares_are_one_minus_the_smoothed_solve_rate():
  curriculum = _curriculum()
  curriculum.record(0, {"a": (8, 8), "b": (4, 8), "c": (0, 8), "d": (0, 0)})
  # 1 - solved / 9 of a, b, c; untried ones count like unsolved ones.
  weights = dict.fromkeys(_NAMES, 1.0) | {"a": 1 / 9, "b": 5 / 9}
  total = sum(weights.values())
  for name, share in _shares(curriculum).items():
    expected = weights[name] / total
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert abs(share - expected) < 4 * error, name


def test_later_visits_weigh_more():
  curriculum = _curriculum()
  curriculum.record(0, {"a": (8, 8)})
  curriculum.record(1, {"a": (0, 8)})
  # solved 8/2 + 0, attempts 8/2 + 8.
  assert curriculum.state()["records"]["a"] == [4.0, 12.0, 0, False]
  weights = 7 + (1 - 4 / 13)
  assert _shares(curriculum)["a"] == pytest.approx(
    (1 - 4 / 13) / weights, abs=0.02
  )


def test_uniform_draws_ignore_outcomes():
  curriculum, fresh = _curriculum(False), _curriculum(False)
  curriculum.record(0, {"a": (8, 8), "b": (0, 8)})
  for step in range(20):
    assert _drawn(curriculum, step, 3) == _drawn(fresh, step, 3)


@pytest.mark.parametrize("prioritized", [True, False])
def test_a_mastered_problem_is_pruned(prioritized):
  curriculum = _curriculum(prioritized, prune_after=2)
  curriculum.record(0, {"a": (8, 8), "b": (8, 8), "c": (8, 8)})
  curriculum.record(1, {"a": (8, 8), "b": (7, 8), "c": (0, 0)})
  assert curriculum.num_pruned == 1
  names = {n for s in range(200) for n in _drawn(curriculum, s, 3)}
  assert names == set(_NAMES) - {"a"}
  # Seven are left: an eighth is one of them again.
  assert sorted(Counter(_drawn(curriculum, 0, 8)).values()) == [1] * 6 + [2]


def test_when_all_are_pruned_all_are_drawn():
  curriculum = _curriculum(prune_after=1)
  assert curriculum.num_pruned == 0
  curriculum.record(0, dict.fromkeys(_NAMES, (8, 8)))
  assert curriculum.num_pruned == len(_NAMES)
  assert sorted(_drawn(curriculum, 1, 8)) == list(_NAMES)
  # A failure brings a problem back.
  curriculum.record(1, {"c": (7, 8)})
  assert curriculum.num_pruned == len(_NAMES) - 1
  assert _drawn(curriculum, 2, 1) == ["c"]


def test_zero_prunes_none():
  curriculum = _curriculum(prune_after=0)
  for step in range(20):
    curriculum.record(step, dict.fromkeys(_NAMES, (8, 8)))
  assert curriculum.num_pruned == 0


def test_restored_through_json_it_goes_on_alike():
  curriculum = _curriculum(prune_after=2)
  rng = np.random.default_rng(0)
  for step in range(9):
    names = _drawn(curriculum, step, 4)
    curriculum.record(step, {n: (int(rng.integers(6, 9)), 8) for n in names})
  state = json.loads(json.dumps(curriculum.state()))
  restored = _curriculum(prune_after=2)
  restored.record(0, {"a": (1, 8), "h": (8, 8)})  # all of it is forgotten
  restored.restore(state)
  assert restored.state() == state
  for step in range(9, 20):
    names = _drawn(curriculum, step, 4)
    assert _drawn(restored, step, 4) == names
    for one in (curriculum, restored):
      one.record(step, dict.fromkeys(names, (8, 8)))
  assert restored.state() == curriculum.state()


def test_a_state_of_an_older_version_is_restored():
  curriculum, restored = _curriculum(), _curriculum()
  curriculum.record(3, {"a": (1, 8)})
  state = curriculum.state()
  restored.restore({"last_step": 3, "records": state["records"]})
  assert restored.state() == state


def test_outcomes_count_once():
  curriculum = _curriculum()
  curriculum.record(3, {"a": (1, 8)})
  for step in (3, 2):
    with pytest.raises(
      ValueError, match=f"iteration {step} come after .* iteration 3"
    ):
      curriculum.record(step, {"a": (1, 8)})
  with pytest.raises(ValueError, match="9 right of 8"):
    curriculum.record(4, {"a": (9, 8)})


def test_usage_errors():
  with pytest.raises(UsageError, match="no problems"):
    _curriculum(names="")
  with pytest.raises(UsageError, match="same name"):
    _curriculum(names="aa")
  with pytest.raises(UsageError, match="prune_after = -1"):
    _curriculum(prune_after=-1)
  curriculum = _curriculum()
  curriculum.record(0, {"h": (1, 8)})
  with pytest.raises(UsageError, match="'h'"):
    _curriculum(names="abc").restore(curriculum.state())


def test_a_disputed_problem_is_drawn_no_more():
  curriculum = _curriculum()
  curriculum.record(0, {"a": (0, 8)}, disputed=["a", "c"])
  drawn = {n for step in range(200) for n in _drawn(curriculum, step, 4)}
  assert drawn == set(_NAMES) - {"a", "c"}
  again = _curriculum()
  again.restore(json.loads(json.dumps(curriculum.state())))
  assert [_drawn(again, s, 4) for s in range(20)] == [
    _drawn(curriculum, s, 4) for s in range(20)
  ]


def test_not_even_when_all_others_are_mastered():
  curriculum = _curriculum(prune_after=1, names="abc")
  curriculum.record(0, {"a": (8, 8), "b": (8, 8)}, disputed=["c"])
  assert curriculum.num_pruned == 3
  drawn = {n for step in range(100) for n in _drawn(curriculum, step, 1)}
  assert drawn == {"a", "b"}
