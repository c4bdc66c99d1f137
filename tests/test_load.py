"""Problems of an experiment: which are loaded and which are left out."""

import dataclasses
import itertools
import json

import pytest

from kimina_jax.problems import arithmetic
from kimina_jax.problems.load import (
  ProblemsSettings,
  PromptLimit,
  decontaminate,
  load_eval_problems,
  load_train_problems,
  repeat_demonstrations,
)
from kimina_jax.types import UsageError

SETTINGS = ProblemsSettings(
  train="arithmetic",
  eval="arithmetic",
  eval_split="test",
  decontaminate_ngram=0,
  num_train=40,
  num_eval=8,
)
NO_LIMIT = PromptLimit(10**6, lambda problem: len(problem.statement))
DEMONSTRATIONS = {"skill": 0.5, "confirmed_only": False, "seed": 3}


def change(**changes):
  return dataclasses.replace(SETTINGS, **changes)


def write(path, records):
  path.write_text("".join(json.dumps(record) + "\n" for record in records))
  return str(path)


def record(name, goal, split="train", **fields):
  statement = f"theorem {name} : {goal} := by"
  header = "import Mathlib\n\n"
  return {
    "name": name,
    "split": split,
    "header": header,
    "statement": statement,
    **fields,
  }


def test_generated_problems():
  found = load_train_problems(SETTINGS, NO_LIMIT, seed=7)
  assert found == arithmetic.generate("train", 40, seed=7)
  held_out = load_eval_problems(SETTINGS, NO_LIMIT)
  assert held_out == arithmetic.generate("test", 8, seed=0)


def test_problems_of_files(tmp_path):
  path = write(
    tmp_path / "p.jsonl",
    [record("a", "1 + 1 = 2"), record("b", "2 + 2 = 4", "test")],
  )
  settings = change(train=path, eval=path)
  assert [
    problem.name for problem in load_train_problems(settings, NO_LIMIT, seed=0)
  ] == ["a"]
  assert [
    problem.name for problem in load_eval_problems(settings, NO_LIMIT)
  ] == ["b"]


def test_long_prompts_are_left_out():
  problems = load_train_problems(SETTINGS, NO_LIMIT, seed=0)
  lengths = [len(problem.statement) for problem in problems]
  limit = dataclasses.replace(NO_LIMIT, max_len=sorted(lengths)[19])
  kept = load_train_problems(SETTINGS, limit, seed=0)
  assert kept == [p for p in problems if len(p.statement) <= limit.max_len]
  assert 20 <= len(kept) < 40
  with pytest.raises(
    UsageError, match="all 40 problems .* out: 0 .* 40 have prompts longer than"
  ):
    load_train_problems(SETTINGS, PromptLimit(3, NO_LIMIT.length), seed=0)


def test_all_splits_of_an_evaluation_file_are_held_out(tmp_path):
  held_out = [record("v", "1 + 1 = 2", "valid"), record("t", "3 = 3", "test")]
  train = [record("a", "1 + 1 = 2"), record("b", "3 = 3"), record("c", "4 = 4")]
  settings = change(
    train=write(tmp_path / "train.jsonl", train),
    eval=write(tmp_path / "eval.jsonl", held_out),
    decontaminate_ngram=13,
  )
  found = load_train_problems(settings, NO_LIMIT, seed=0)
  assert [problem.name for problem in found] == ["c"]
  kept = dataclasses.replace(settings, decontaminate_ngram=0)
  assert len(load_train_problems(kept, NO_LIMIT, seed=0)) == 3
  everything = dataclasses.replace(settings, train=settings.eval)
  write(tmp_path / "eval.jsonl", train)
  with pytest.raises(
    UsageError, match="all 3 problems .* out: 3 share an n-gram .*_ngram"
  ):
    load_train_problems(everything, NO_LIMIT, seed=0)


def test_of_generated_problems_the_split_is_held_out():
  held_out = arithmetic.generate("test", 8, seed=0)
  others = arithmetic.generate("valid", 8, seed=0)
  settings = change(decontaminate_ngram=1000)
  assert decontaminate(settings, [*held_out, *others]) == others


def test_generated_demonstrations_never_end(tmp_path):
  path = write(tmp_path / "p.jsonl", [record("a", "1 + 1 = 2")])
  # The source's own problems are demonstrated, not those of problems.train.
  for settings in (SETTINGS, change(train=path)):
    stream = repeat_demonstrations(
      "arithmetic", settings, NO_LIMIT, **DEMONSTRATIONS
    )
    first, second = ([*itertools.islice(stream, 40)] for _ in range(2))
    assert [one.problem for one in first] == [one.problem for one in second]
    assert first != second
    assert first == [
      arithmetic.demonstrate(problem, skill=0.5, seed=3000)
      for problem in arithmetic.generate("train", 40, seed=3)
    ]


def test_demonstrations_of_files_are_cycled_without_held_out_ones(tmp_path):
  rows = [record(name, f"{name} = 1", response=name) for name in "abcd"]
  settings = change(
    eval=write(tmp_path / "eval.jsonl", rows[:1]), decontaminate_ngram=13
  )
  path = write(tmp_path / "demonstrations.jsonl", rows)
  stream = repeat_demonstrations(path, settings, NO_LIMIT, **DEMONSTRATIONS)
  found = [one.response for one in itertools.islice(stream, 6)]
  assert sorted(found[:3]) == ["b", "c", "d"]
  assert found[3:] == found[:3]
  path = write(tmp_path / "demonstrations.jsonl", rows[:1])
  with pytest.raises(UsageError, match="every demonstration is of a held-out"):
    next(repeat_demonstrations(path, settings, NO_LIMIT, **DEMONSTRATIONS))


def test_unknown_sources_are_paths():
  with pytest.raises(UsageError, match="no problem file at 'algebra'"):
    load_train_problems(change(train="algebra"), NO_LIMIT, seed=0)
  with pytest.raises(UsageError, match="no demonstrations at 'algebra'"):
    next(repeat_demonstrations("algebra", SETTINGS, NO_LIMIT, **DEMONSTRATIONS))


def test_settings_are_checked():
  with pytest.raises(UsageError, match="problems.num_eval = -1"):
    change(num_eval=-1)
