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
  assert [row["row"] for row in whole] == [*range(64), *range(32)]
  assert result["num_problems"] == 6
  path = tmp_path / "rollouts.jsonl"
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:70]) + lines[70][:40])
  finish(start(tmp_path, cache, "evaluate", *flags, **settings))
  assert rollouts(tmp_path) == whole
  assert json.loads((tmp_path / "result.json").read_text()) == result
