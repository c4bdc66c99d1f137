"""A run that is killed and started again ends as if it had not been."""

import functools
import json
import shutil
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import programs
import pytest
from programs import Scenarios, newest, read_rollouts, read_rows

# An iteration's rollouts take about 750 tokens.
TIGHT = {"train.tokens_per_iteration": 400, "eval.every": 0}


def start(name, run_dir, *flags, **overrides):
  return programs.start(name, run_dir, *flags, devices=2, **overrides)


def carried(run_dir):
  """The partial groups of the newest checkpoint."""
  folder = run_dir / "checkpoints" / str(newest(run_dir)) / "host"
  return json.loads((folder / "metadata").read_text())["partial_rollouts"]


def column(run_dir, name):
  return [row.get(name) for row in read_rows(run_dir / "metrics.jsonl")]


def params(run_dir, step=None):
  step = newest(run_dir) if step is None else step
  path = (run_dir / "checkpoints" / str(step) / "params").absolute()
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(path)


def assert_same_params(one, other):
  assert newest(one) == newest(other)
  leaves, tree = jax.tree.flatten(params(one))
  others, other_tree = jax.tree.flatten(params(other))
  assert tree == other_tree
  for leaf, twin in zip(leaves, others, strict=True):
    np.testing.assert_array_equal(np.asarray(leaf), np.asarray(twin))


def kill_sft_twice(run_dir):
  for count in (3, 6):
    program = start("sft", run_dir)
    program.wait_for_rows(run_dir, count)
    program.kill()
  start("sft", run_dir).finish()
  return run_dir


def kill_rl_three_times(run_dir, cold_start):
  """SIGKILL in an iteration, right after a row, and during a save."""
  for count, delay_s in ((1, 0.1), (2, 0.0), (3, 0.02)):
    program = start("train", run_dir, init_from=cold_start)
    program.wait_for_rows(run_dir, count)
    time.sleep(delay_s)
    program.kill()
  start("train", run_dir, init_from=cold_start).finish()
  return run_dir


def stop_rl(run_dir, cold_start):
  """With a save every 100 iterations only SIGTERM can have saved."""
  rare = {"init_from": cold_start, "checkpoint.every": 100}
  program = start("train", run_dir, **rare)
  program.wait_for_rows(run_dir, 2)
  program.interrupt()
  assert "the same command resumes from there" in program.finish(code=143)
  assert newest(run_dir) in (2, 3)
  start("train", run_dir, **rare).finish()
  return run_dir


def kill_and_stop_tight(run_dir, cold_start):
  settings = {"init_from": cold_start} | TIGHT
  program = start("train", run_dir, **settings)
  program.wait_for_rows(run_dir, 2)
  program.kill()
  program = start("train", run_dir, **settings)
  program.wait_for_rows(run_dir, 3)
  program.interrupt()
  program.finish(code=143)
  assert carried(run_dir)
  start("train", run_dir, **settings).finish()
  return run_dir


def train(run_dir, cold_start, **overrides):
  start("train", run_dir, init_from=cold_start, **overrides).finish()
  return run_dir


@pytest.fixture(scope="module")
def cold_start(tmp_path_factory):
  run_dir = tmp_path_factory.mktemp("sft")
  start("sft", run_dir).finish()
  return run_dir


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, cold_start):
  run_dir = train(tmp_path_factory.mktemp("rl"), cold_start)
  assert (run_dir / "report.html").exists()
  return run_dir


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cold_start, uninterrupted):
  """All other runs side by side; the programs are compiled by now."""
  root = tmp_path_factory.mktemp("runs")
  still = {"optimizer.learning_rate": 0.0} | TIGHT
  ample = {"train.tokens_per_iteration": 10**6}

  def later(function, name, *args, **overrides):
    return functools.partial(function, root / name, *args, **overrides)

  scenarios = Scenarios(
    rl_killed=later(kill_rl_three_times, "rl_killed", cold_start),
    sft_killed=later(kill_sft_twice, "sft_killed"),
    tight_killed=later(kill_and_stop_tight, "tight_killed", cold_start),
    rl_stopped=later(stop_rl, "rl_stopped", cold_start),
    tight=later(train, "tight", cold_start, **TIGHT),
    still=later(train, "still", cold_start, **still),
    ample=later(train, "ample", cold_start, **ample),
  )
  yield scenarios
  scenarios.close()


def test_the_run_learned_something(uninterrupted):
  """Training must change the weights, or equality would prove nothing."""
  before, after = params(uninterrupted, 2), params(uninterrupted)
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
  assert all(jax.tree.leaves(moved))


def test_sft_killed_twice(runs, cold_start):
  assert_same_params(cold_start, runs["sft_killed"])


def test_rl_killed_three_times(runs, uninterrupted):
  assert_same_params(uninterrupted, runs["rl_killed"])
  assert read_rollouts(uninterrupted) == read_rollouts(runs["rl_killed"])


def test_sigterm_saves_and_resumes(runs, uninterrupted):
  assert_same_params(uninterrupted, runs["rl_stopped"])
  assert read_rollouts(uninterrupted) == read_rollouts(runs["rl_stopped"])


def test_a_finished_run_is_not_touched(uninterrupted, cold_start, tmp_path):
  """The same command again evaluates nothing and rewrites no row."""
  shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
  output = start("train", tmp_path, init_from=cold_start).finish()
  assert "is complete: 4 iterations are done" in output
  for name in ("metrics.jsonl", "rollouts.jsonl"):
    before = (uninterrupted / name).read_bytes()
    assert (tmp_path / name).read_bytes() == before


def test_a_budget_carries_rollouts_over(runs):
  """Each rollout is used once, in a complete group, or still in flight."""
  tight = runs["tight"]
  assert max(column(tight, "rollout/carried")[:-1]) > 0
  assert max(column(tight, "rollout/stale")[:-1]) > 0
  # Four problems are in flight in each iteration.
  rows = read_rollouts(tight)
  assert len(carried(tight)) == column(tight, "rollout/carried")[-2]
  begun = [(row["began"], row["index"]) for row in rows]
  assert len(set(begun)) == len(begun)
  groups = {
    (r["iteration"], r["began"], r["index"] // 4, r["name"]) for r in rows
  }
  assert 4 * len(groups) == len(rows)
  assert any(row["num_carried"] for row in rows)
  assert all(
    row["began"] < row["iteration"] for row in rows if row["num_carried"]
  )
  assert max(column(tight, "sampler/tokens")[:-1]) < 400 + 2 * 8 * 16


def test_rl_with_a_budget_killed_and_stopped(runs):
  tight, resumed = runs["tight"], runs["tight_killed"]
  assert_same_params(tight, resumed)
  assert read_rollouts(tight) == read_rollouts(resumed)
  ours, theirs = (
    [
      [sample["rollout"] for sample in group["finished"]] + group["unfinished"]
      for group in carried(run_dir)
    ]
    for run_dir in (tight, resumed)
  )
  assert ours == theirs


def test_an_ample_budget_is_none(runs, uninterrupted):
  ample = runs["ample"]
  assert not any(column(ample, "rollout/carried")[:-1])
  assert_same_params(uninterrupted, ample)
  assert read_rollouts(uninterrupted) == read_rollouts(ample)


def test_with_the_same_weights_a_rollout_goes_on_as_if_uncut(
  runs, uninterrupted
):
  rows = read_rollouts(uninterrupted)
  whole = {r["index"]: r for r in rows if r["iteration"] == 0}
  rows = read_rollouts(runs["still"])
  cut = {r["index"]: r for r in rows if r["began"] == 0}
  assert cut.keys() == whole.keys()
  assert any(row["num_carried"] for row in cut.values())
  same = ("name", "text", "stop", "verdict", "reward", "response_len")
  for index, ours in cut.items():
    assert {n: ours[n] for n in same} == {n: whole[index][n] for n in same}


def test_evaluation_goes_on_after_its_whole_parts(cold_start, tmp_path):
  """A part that was cut in the middle is sampled again, to the same end."""
  settings = {
    "eval.num_samples": 16,
    "eval.ks": "(1, 16)",
    "problems.num_eval": 6,
  }
  flag = f"--checkpoint={cold_start}"
  start("evaluate", tmp_path, flag, **settings).finish()
  whole = read_rollouts(tmp_path)
  result = json.loads((tmp_path / "result.json").read_text())
  assert [row["index"] for row in whole] == [*range(64), *range(32)]
  assert result["num_problems"] == 6
  path = tmp_path / "rollouts.jsonl"
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:70]) + lines[70][:40])
  start("evaluate", tmp_path, flag, **settings).finish()
  assert read_rollouts(tmp_path) == whole
  assert json.loads((tmp_path / "result.json").read_text()) == result
