"""Rollouts on disk: complete rows, and a resumed file is the whole file."""

import json

import numpy as np
import pytest

from kimina_jax.infra.records import (
  RolloutWriter,
  append,
  read,
  read_rollouts,
)
from kimina_jax.types import (
  Message,
  Problem,
  Prompt,
  Rollout,
  Sample,
  Status,
  UsageError,
  Verdict,
)


def test_row_holds_what_was_asked_said_and_judged(tmp_path):
  message = Message("error", 3, 2, 3, 10, "unsolved goals\n⊢ x = 3")
  sample = _sample(
    index=5,
    began=4,
    num_carried=2,
    text="<think>\n…</think>",
    verdict=Verdict(
      Status.LEAN_ERROR, messages=(message,), detail="why", exec_s=0.25
    ),
    reward=0.0,
    advantage=-0.375,
  )
  writer = RolloutWriter(tmp_path / "rollouts.jsonl", 0)
  writer.write(7, [sample])
  # Readable at once, while the run continues.
  (row,) = read_rollouts(tmp_path / "rollouts.jsonl")
  writer.close()
  assert list(row)[:2] == ["iteration", "index"]
  expected = {
    "iteration": 7,
    "index": 5,
    "began": 4,
    "name": "linear_int_3",
    "source": "linear_int",
    "statement": "theorem linear_int_3 (x : ℤ) : x = x := by",
    "prompt": "<|im_start|>user …",
    "text": "<think>\n…</think>",
    "verdict": "lean_error",
    "detail": "why",
    "reward": 0.0,
    "advantage": -0.375,
    "prompt_len": 4,
    "response_len": 3,
    "num_carried": 2,
    "stop": "stop",
    "exec_s": 0.25,
  }
  assert {name: row[name] for name in expected} == expected
  assert Message(**row["messages"][0]) == message


def test_excluded_sample_has_no_reward(tmp_path):
  writer = RolloutWriter(tmp_path / "rollouts.jsonl", 0)
  writer.write(0, [_sample(reward=None)])
  writer.close()
  (row,) = read_rollouts(tmp_path / "rollouts.jsonl")
  assert row["reward"] is None


@pytest.mark.parametrize("num_torn", [0, 1, 17])
def test_resumed_file_is_that_of_the_uninterrupted_run(tmp_path, num_torn):
  whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
  writer = RolloutWriter(whole, 0)
  for step in range(12):
    writer.write(step, _samples(step))
  writer.close()
  # Killed while it wrote step 10; the last checkpoint is that of step 9.
  writer = RolloutWriter(resumed, 0)
  for step in range(11):
    writer.write(step, _samples(step))
  writer.close()
  with open(resumed, "r+b") as file:
    file.truncate(resumed.stat().st_size - num_torn)
  writer = RolloutWriter(resumed, 9)
  for step in range(9, 12):
    writer.write(step, _samples(step))
  writer.close()
  assert resumed.read_bytes() == whole.read_bytes()


def test_resume_past_the_end_cuts_the_torn_line_only(tmp_path):
  path = tmp_path / "rollouts.jsonl"
  path.write_text('{"step": 1}\n{"step": 2}\n{"st')
  RolloutWriter(path, 5).close()
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_fresh_start_empties_the_file(tmp_path):
  path = tmp_path / "rollouts.jsonl"
  path.write_text('{"step": 1}\n')
  RolloutWriter(path, 0).close()
  assert path.read_bytes() == b""


def test_reading_leaves_out_a_torn_line_and_names_a_broken_one(tmp_path):
  path = tmp_path / "rollouts.jsonl"
  path.write_text('{"step": 1}\n{"step": 2')
  assert list(read(path)) == [{"step": 1}]
  path.write_text('{"step": 1}\n{"step" 2}\n{"step": 3}\n')
  with pytest.raises(UsageError, match=r"rollouts.jsonl:2 is not JSON"):
    list(read(path))
  with pytest.raises(UsageError, match="no such file: .*absent"):
    list(read(tmp_path / "absent.jsonl"))


def test_a_file_of_an_earlier_version_is_read_and_cut(tmp_path):
  path = tmp_path / "rollouts.jsonl"
  path.write_text('{"step": 1, "row": 5}\n{"iteration": 2, "index": 6}\n')
  assert list(read_rollouts(path)) == [
    {"iteration": 1, "index": 5},
    {"iteration": 2, "index": 6},
  ]
  RolloutWriter(path, 2).close()
  assert path.read_text() == '{"step": 1, "row": 5}\n'


def test_a_file_of_other_rows_is_not_cut(tmp_path):
  path = tmp_path / "rollouts.jsonl"
  path.write_text('{"name": "theirs"}\n')
  with pytest.raises(UsageError, match="row without a step"):
    RolloutWriter(path, 0)
  assert path.read_text() == '{"name": "theirs"}\n'


def test_any_text_survives_as_one_line(tmp_path):
  text = "line\u2028sep \x00 \x85 \ud83d\n</script> ⊢ ℕ"
  writer = RolloutWriter(tmp_path / "rollouts.jsonl", 0)
  writer.write(0, [_sample(text=text)])
  writer.close()
  assert (tmp_path / "rollouts.jsonl").read_bytes().count(b"\n") == 1
  (row,) = read_rollouts(tmp_path / "rollouts.jsonl")
  assert row["text"] == text


def test_a_full_disk_is_a_clear_error():
  with open("/dev/full", "ab", buffering=0) as file:
    with pytest.raises(UsageError, match="/dev/full: No space left on device"):
      append(file, [{"step": 0}])


def test_a_reward_that_is_not_a_number_is_refused(tmp_path):
  writer = RolloutWriter(tmp_path / "rollouts.jsonl", 0)
  with pytest.raises(ValueError, match="not JSON compliant"):
    writer.write(0, [_sample(), _sample(advantage=float("nan"))])
  writer.close()
  assert not list(read_rollouts(tmp_path / "rollouts.jsonl"))


def _samples(step):
  rng = np.random.default_rng(step)
  return [
    _sample(
      index=index,
      text="\n".join("simp ⊢" for _ in range(rng.integers(1, 9))),
      reward=float(rng.integers(0, 2)),
    )
    for index in range(int(rng.integers(1, 5)))
  ]


def _sample(
  index=0,
  text="text",
  verdict=Verdict(Status.PROVED),  # noqa: B008
  reward=1.0,
  advantage=0.5,
  began=0,
  num_carried=0,
):
  problem = Problem(
    name="linear_int_3",
    header="import Mathlib\n\n",
    statement="theorem linear_int_3 (x : ℤ) : x = x := by",
    source="linear_int",
  )
  prompt = Prompt(problem, "<|im_start|>user …", np.arange(4, dtype=np.int32))
  rollout = Rollout(
    prompt=prompt,
    index=index,
    tokens=np.arange(3, dtype=np.int32),
    logps=np.zeros(3, np.float32),
    model_logps=np.zeros(3, np.float32),
    text=text,
    stop_reason="stop",
    iteration=began,
    num_carried=num_carried,
  )
  return Sample(
    rollout=rollout, verdict=verdict, reward=reward, advantage=advantage
  )


def test_rows_are_plain_json(tmp_path):
  writer = RolloutWriter(tmp_path / "rollouts.jsonl", 0)
  writer.write(0, [_sample(reward=np.float32(1), advantage=np.float32(0.1))])
  writer.close()
  (line,) = (tmp_path / "rollouts.jsonl").read_text().splitlines()
  assert json.loads(line)["reward"] == 1.0
