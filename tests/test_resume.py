"""A run that is killed and started again ends as if it had not been."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUM_ITERATIONS = 4
SMALL = {
  "train.num_iterations": NUM_ITERATIONS,
  "train.num_problems": 4,
  "train.num_per_problem": 4,
  "train.num_minibatches": 2,
  "rollouts.max_response_len": 48,
  "rollouts.num_slots": 8,
  "eval.every": 2,
  "eval.num_samples": 1,
  "eval.ks": "(1,)",
  "problems.num_train": 32,
  "problems.num_eval": 4,
  # A policy this young proves nothing: lengths alone tell rollouts apart.
  "advantage.length_penalty": True,
  "checker.num_workers": 1,
  "checkpoint.every": 1,
  "sft.num_examples": 48,
  "sft.num_epochs": 4,
  "sft.rows_per_batch": 4,
  "sft.save_every": 2,
  "sft.log_every": 1,
}
SECONDS = ("queue_s", "load_s", "exec_s")
# An iteration's rollouts take about 750 tokens.
TIGHT = {"train.tokens_per_iteration": 400, "eval.every": 0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  """Compilations are shared by the processes of this module."""
  return tmp_path_factory.mktemp("compiled")


def start(run_dir, cache, program="train", *more, **overrides):
  flags = [f"--config.{k}={v}" for k, v in (SMALL | overrides).items()]
  env = os.environ | {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return subprocess.Popen(
    [
      *(sys.executable, "-m", f"kimina_jax.{program}"),
      f"--config={ROOT}/configs/debug.py",
      f"--run_dir={run_dir}",
      *flags,
      *more,
    ],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process, code=0):
  output, _ = process.communicate(timeout=300)
  assert process.returncode == code, output
  return output


def wait_for_rows(process, path, count):
  """Until the run has recorded `count` steps; it must not end before."""
  while not path.exists() or path.read_text().count("\n") < count:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)


def carried(run_dir):
  """What the newest checkpoint has to go on with."""
  folder = run_dir / "checkpoints" / str(newest(run_dir)) / "host"
  return json.loads((folder / "metadata").read_text())["carried"]


def column(run_dir, name):
  lines = (run_dir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line).get(name) for line in lines]


def newest(run_dir):
  return max(int(p.name) for p in (run_dir / "checkpoints").glob("[0-9]*"))


def params(run_dir, step=None):
  step = newest(run_dir) if step is None else step
  path = (run_dir / "checkpoints" / str(step) / "params").absolute()
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(path)


def rollouts(run_dir):
  lines = (run_dir / "rollouts.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return [{k: v for k, v in r.items() if k not in SECONDS} for r in rows]


def assert_same_params(one, other):
  assert newest(one) == newest(other)
  leaves, tree = jax.tree.flatten(params(one))
  others, other_tree = jax.tree.flatten(params(other))
  assert tree == other_tree
  for leaf, twin in zip(leaves, others, strict=True):
    np.testing.assert_array_equal(np.asarray(leaf), np.asarray(twin))


def kill(process):
  process.kill()
  process.communicate()


@pytest.fixture(scope="module")
def cold_start(tmp_path_factory, cache):
  run_dir = tmp_path_factory.mktemp("sft")
  finish(start(run_dir, cache, "sft"))
  return run_dir


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, cache, cold_start):
  run_dir = tmp_path_factory.mktemp("rl")
  finish(start(run_dir, cache, init_from=cold_start))
  assert (run_dir / "report.html").exists()
  return run_dir


def test_sft_killed_twice(cold_start, cache, tmp_path):
  for count in (3, 6):
    process = start(tmp_path, cache, "sft")
    wait_for_rows(process, tmp_path / "metrics.jsonl", count)
    kill(process)
  finish(start(tmp_path, cache, "sft"))
  assert_same_params(cold_start, tmp_path)


def test_the_run_learned_something(uninterrupted):
  """Else equality after a restart would say nothing."""
  before, after = params(uninterrupted, 2), params(uninterrupted)
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
  assert all(jax.tree.leaves(moved))


def test_rl_killed_three_times(uninterrupted, cold_start, cache, tmp_path):
  """SIGKILL in an iteration, right after a row, and while a save goes on."""
  path = tmp_path / "metrics.jsonl"
  for count, delay_s in ((1, 0.3), (2, 0.0), (3, 0.02)):
    process = start(tmp_path, cache, init_from=cold_start)
    wait_for_rows(process, path, count)
    time.sleep(delay_s)
    kill(process)
  finish(start(tmp_path, cache, init_from=cold_start))
  assert_same_params(uninterrupted, tmp_path)
  assert rollouts(uninterrupted) == rollouts(tmp_path)


def test_sigterm_saves_and_resumes(uninterrupted, cold_start, cache, tmp_path):
  """With a save every 100 iterations only SIGTERM can have saved."""
  rare = {"init_from": cold_start, "checkpoint.every": 100}
  process = start(tmp_path, cache, **rare)
  wait_for_rows(process, tmp_path / "metrics.jsonl", 2)
  process.send_signal(signal.SIGTERM)
  output = finish(process, code=143)
  assert "the same command goes on from there" in output
  assert newest(tmp_path) in (2, 3)
  finish(start(tmp_path, cache, **rare))
  assert_same_params(uninterrupted, tmp_path)
  assert rollouts(uninterrupted) == rollouts(tmp_path)


@pytest.fixture(scope="module")
def tight(tmp_path_factory, cache, cold_start):
  run_dir = tmp_path_factory.mktemp("tight")
  finish(start(run_dir, cache, init_from=cold_start, **TIGHT))
  return run_dir


def test_a_budget_carries_rollouts_over(tight):
  """Each is learned from once, in a whole group, or still on its way."""
  assert max(column(tight, "rollout/carried")[:-1]) > 0
  assert max(column(tight, "rollout/stale")[:-1]) > 0
  # Four problems are in flight in each iteration.
  rows = rollouts(tight)
  on_the_way = len(carried(tight))
  assert on_the_way == column(tight, "rollout/carried")[-2]
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


def test_rl_with_a_budget_killed_and_stopped(
  tight, cold_start, cache, tmp_path
):
  path = tmp_path / "metrics.jsonl"
  settings = {"init_from": cold_start} | TIGHT
  process = start(tmp_path, cache, **settings)
  wait_for_rows(process, path, 2)
  kill(process)
  process = start(tmp_path, cache, **settings)
  wait_for_rows(process, path, 3)
  process.send_signal(signal.SIGTERM)
  finish(process, code=143)
  assert carried(tmp_path)
  finish(start(tmp_path, cache, **settings))
  assert_same_params(tight, tmp_path)
  assert rollouts(tight) == rollouts(tmp_path)
  without_seconds = [
    [row["rollout"] for row in group["judged"]] + group["begun"]
    for run_dir in (tight, tmp_path)
    for group in carried(run_dir)
  ]
  half = len(without_seconds) // 2
  assert without_seconds[:half] == without_seconds[half:]


def test_an_ample_budget_is_none(uninterrupted, cold_start, cache, tmp_path):
  ample = {"init_from": cold_start, "train.tokens_per_iteration": 10**6}
  finish(start(tmp_path, cache, **ample))
  assert not any(column(tmp_path, "rollout/carried")[:-1])
  assert_same_params(uninterrupted, tmp_path)
  assert rollouts(uninterrupted) == rollouts(tmp_path)


def test_with_the_same_weights_a_rollout_goes_on_as_if_uncut(
  uninterrupted, cold_start, cache, tmp_path
):
  still = {"init_from": cold_start, "optimizer.learning_rate": 0.0}
  finish(start(tmp_path, cache, **still | TIGHT))
  whole = {
    r["index"]: r for r in rollouts(uninterrupted) if r["iteration"] == 0
  }
  cut = {r["index"]: r for r in rollouts(tmp_path) if r["began"] == 0}
  assert cut.keys() == whole.keys()
  assert any(row["num_carried"] for row in cut.values())
  same = ("name", "text", "stop", "verdict", "reward", "response_len")
  for row, ours in cut.items():
    assert {n: ours[n] for n in same} == {n: whole[row][n] for n in same}


def test_evaluation_goes_on_after_its_whole_parts(cold_start, cache, tmp_path):
  """A part that was cut in the middle is sampled again, to the same end."""
  settings = {
    "eval.num_samples": 16,
    "eval.ks": "(1, 16)",
    "problems.num_eval": 6,
  }
  flags = [f"--checkpoint={cold_start}"]
  finish(start(tmp_path, cache, "evaluate", *flags, **settings))
  whole = rollouts(tmp_path)
  result = json.loads((tmp_path / "result.json").read_text())
  assert [row["index"] for row in whole] == [*range(64), *range(32)]
  assert result["num_problems"] == 6
  path = tmp_path / "rollouts.jsonl"
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:70]) + lines[70][:40])
  finish(start(tmp_path, cache, "evaluate", *flags, **settings))
  assert rollouts(tmp_path) == whole
  assert json.loads((tmp_path / "result.json").read_text()) == result
