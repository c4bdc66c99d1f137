"""Demonstrations: the three kinds of records, and refusals."""

import json

import pytest

from kimina_jax.infra.records import to_row
from kimina_jax.problems.demonstrations import load_demonstrations
from kimina_jax.prompts.template import render_prompt
from kimina_jax.types import (
  Problem,
  Prompt,
  Rollout,
  Sample,
  Status,
  UsageError,
  Verdict,
)

PROBLEM = Problem("p", "import Mathlib\n\n", "theorem p : 1 < 2 := by", "Less?")


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def row_of(text, status, format_error="", *, confirmed=False):
  """A row of rollouts.jsonl."""
  prompt = Prompt(PROBLEM, "…", [1, 2])
  rollout = Rollout(prompt, 0, [3], [0.0], [0.0], text, "stop")
  verdict = Verdict(status, confirmed=confirmed)
  return to_row(0, Sample(rollout, verdict, format_error))


def test_proofs(tmp_path):
  row = {
    "header": PROBLEM.header,
    "statement": PROBLEM.statement,
    "response": "norm_num",
  }
  (found,) = load_demonstrations(write(tmp_path / "a.jsonl", [row]))
  assert found.problem.statement == PROBLEM.statement
  assert found.response == "norm_num"


@pytest.mark.parametrize(
  "fields",
  [
    {
      "header": PROBLEM.header,
      "formal_statement": f"{PROBLEM.statement} sorry",
      "informal_prefix": f"/-- {PROBLEM.informal} -/\n",
    },
    {
      "lean4_code": f"{PROBLEM.header}{PROBLEM.statement}",
      "informal_statement": PROBLEM.informal,
    },
  ],
)
def test_proofs_in_the_spellings_of_statement_files(tmp_path, fields):
  row = {"problem_id": "p", "response": "norm_num", **fields}
  (found,) = load_demonstrations(write(tmp_path / "a.jsonl", [row]))
  assert found.problem == PROBLEM
  assert found.response == "norm_num"
  del row["problem_id"]
  (found,) = load_demonstrations(write(tmp_path / "a.jsonl", [row]))
  assert found.problem.name == f"{tmp_path / 'a.jsonl'}:1"


def test_questions_become_plain_turns(tmp_path):
  row = {"prompt": "What is 1 + 1?", "response": "2"}
  (found,) = load_demonstrations(write(tmp_path / "a.jsonl", [row]))
  text = render_prompt(found.problem)
  assert "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n" in text
  assert "lean4" not in text


def test_distillation_takes_proved_rollouts_in_the_pattern_only(tmp_path):
  rows = [
    row_of("good", Status.PROVED),
    row_of("wrong", Status.LEAN_ERROR),
    row_of("no pattern", Status.PROVED, "no tactics block"),
    row_of("lost", Status.INFRA_ERROR),
  ]
  (found,) = load_demonstrations(write(tmp_path / "rollouts.jsonl", rows))
  assert found.response == "good"
  assert found.problem == PROBLEM


def test_confirmed_rollouts_only(tmp_path):
  rows = [
    row_of("trusted", Status.PROVED),
    row_of("sure", Status.PROVED, confirmed=True),
    row_of("disputed", Status.DISPUTED),
  ]
  path = write(tmp_path / "rollouts.jsonl", rows)
  (found,) = load_demonstrations(path, confirmed_only=True)
  assert found.response == "sure"
  path = write(tmp_path / "rollouts.jsonl", rows[:1])
  with pytest.raises(UsageError, match="no confirmed rollout"):
    load_demonstrations(path, confirmed_only=True)


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    (
      [{"header": "", "response": "x"}],
      ":1: missing field formal_statement or statement",
    ),
    ([{"prompt": "x"}], ':1: missing field "response"'),
    ([row_of("wrong", Status.LEAN_ERROR)], "no demonstration"),
    ([], "no demonstration"),
  ],
)
def test_refusals_name_the_line(rows, message, tmp_path):
  with pytest.raises(UsageError, match=message):
    load_demonstrations(write(tmp_path / "a.jsonl", rows))


def test_no_such_file(tmp_path):
  with pytest.raises(UsageError, match="no demonstrations at"):
    load_demonstrations(tmp_path / "none.jsonl")


def test_not_json(tmp_path):
  (tmp_path / "a.jsonl").write_text("{")
  with pytest.raises(UsageError, match=":1: not JSON"):
    load_demonstrations(tmp_path / "a.jsonl")
