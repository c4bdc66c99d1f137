"""2 processes of 4 devices compute the same as 1 of 8, also under faults."""

import functools
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import programs
import pytest
from programs import ROOT, Scenarios, read_rollouts, read_rows

SMALL = {
  "train.num_iterations": 3,
  "rollouts.tensor": 2,
  "mesh.data": 2,
  "mesh.tensor": 2,
  "eval.every": 0,
  "eval.num_samples": 2,
  "problems.num_eval": 5,
  "checkpoint.max_to_keep": 9,
  "sft.num_epochs": 2,
}
BUDGET = {"train.tokens_per_iteration": 400}


def alone(name, run_dir, *flags, devices=8, **overrides):
  """One process with eight devices."""
  settings = SMALL | overrides
  return programs.start(name, run_dir, *flags, devices=devices, **settings)


def pod(name, run_dir, *flags, devices=4, **overrides):
  """Two processes with four devices each."""
  settings = SMALL | overrides
  return programs.start_pod(name, run_dir, *flags, devices=devices, **settings)


def finish_all(processes, code=0):
  """The output of all processes together."""
  return "".join([process.finish(code) for process in processes])


def stop_sft(run_dir):
  """SIGTERM to the script that starts both; then one process resumes."""
  command = ["launch/local_pod.sh", "2", "sft"]
  job = subprocess.Popen(
    command + programs.command_line(run_dir, **SMALL),
    cwd=ROOT,
    env=programs.environment(4),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  programs.wait_for_rows(run_dir, 3, lambda: job.poll() is None)
  job.send_signal(signal.SIGTERM)
  output, _ = job.communicate(timeout=300)
  assert job.returncode == 143, output
  num_done = len(read_rows(run_dir / "metrics.jsonl"))
  saved = os.listdir(run_dir / "checkpoints")
  alone("sft", run_dir).finish()
  return output, num_done, saved


def kill_one_of_two(run_dir, cold_start, reinforced):
  """Resumes what one process saved; one of two is killed; resumes again."""
  shutil.copytree(reinforced, run_dir)
  for step in ("2", "3"):
    shutil.rmtree(run_dir / "checkpoints" / step)
  keep_first_iteration(run_dir / "metrics.jsonl", "step")
  keep_first_iteration(run_dir / "rollouts.jsonl", "iteration")
  first, second = pod("train", run_dir, init_from=cold_start)
  first.wait_for_rows(run_dir, 2)
  second.kill()
  started_s = time.monotonic()
  output = first.finish(code=1)
  seconds = time.monotonic() - started_s
  finish_all(pod("train", run_dir, init_from=cold_start))
  return output, seconds


def evaluate(run_dir, reinforced):
  flag = f"--checkpoint={reinforced}"
  alone("evaluate", run_dir / "one", flag).finish()
  return finish_all(pod("evaluate", run_dir / "two", flag))


def budget_apart(run_dir, cold_start):
  finish_all(pod("train", run_dir, init_from=cold_start, **BUDGET))


def budget_together(run_dir, cold_start):
  settings = {"init_from": cold_start, "mesh.data": 1} | BUDGET
  alone("train", run_dir / "one", devices=2, **settings).finish()
  finish_all(pod("train", run_dir / "two", devices=1, **settings))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return tmp_path_factory.mktemp("pod")


@pytest.fixture(scope="module")
def cold_start(root):
  run_dir = root / "sft"
  alone("sft", run_dir).finish()
  return run_dir


@pytest.fixture(scope="module")
def runs(root, cold_start):
  """All runs, side by side."""
  reinforced = root / "rl"

  def reinforce():
    alone("train", reinforced, init_from=cold_start).finish()
    return reinforced

  def after_it(function, *args):
    return lambda: runs["reinforced"] and function(*args, reinforced)

  runs = Scenarios(
    reinforced=reinforce,
    stopped=functools.partial(stop_sft, root / "stopped"),
    apart=functools.partial(budget_apart, root / "apart", cold_start),
    killed=after_it(kill_one_of_two, root / "killed", cold_start),
    evaluated=after_it(evaluate, root / "evaluated"),
    together=functools.partial(budget_together, root / "together", cold_start),
  )
  yield runs
  runs.close()


def test_the_run_learned_something(runs):
  """Training must change the weights, or equal losses would prove nothing."""
  found = read_rows(runs["reinforced"] / "metrics.jsonl")
  assert sum(row.get("loss/grad_norm", 0) > 0 for row in found) >= 2


def test_sft_stopped_in_two_and_resumed_in_one(runs, root, cold_start):
  output, num_done, saved = runs["stopped"]
  assert output.count("stopped: SIGTERM") == 1
  assert "the same command resumes from there" in output
  assert str(num_done) in saved
  assert_same_losses(root / "stopped", cold_start)


def test_rl_resumed_in_two_and_killed(runs, root):
  output, seconds = runs["killed"]
  assert seconds < 60
  assert "error: process 1 is lost" in output
  assert "Run the same command again" in output
  assert_same_losses(root / "killed", runs["reinforced"])
  assert read_rollouts(root / "killed") == read_rollouts(runs["reinforced"])
  assert (root / "killed" / "report.html").exists()


def test_evaluation_in_two(runs, root):
  assert runs["evaluated"].count("pass@1") >= 1
  one, two = root / "evaluated" / "one", root / "evaluated" / "two"
  assert read_rollouts(two) == read_rollouts(one)
  results = [json.loads((d / "result.json").read_text()) for d in (one, two)]
  assert results[0] == results[1]
  assert results[0]["num_problems"] == 5


def test_a_budget_in_two_that_sample_apart(runs, root):
  """Each process cuts its own rollouts; no group is lost or split."""
  runs["apart"]
  found = read_rows(root / "apart" / "metrics.jsonl")[:-1]
  assert max(row["rollout/carried"] for row in found) > 0
  learned = read_rollouts(root / "apart")
  assert any(row["began"] < row["iteration"] for row in learned)
  assert len({(r["began"], r["index"]) for r in learned}) == len(learned)
  for row in found:
    mine = [r for r in learned if r["iteration"] == row["step"]]
    assert len(mine) == 4 * (4 - row["rollout/carried"])
    groups = {(r["began"], r["index"] // 4, r["name"]) for r in mine}
    assert 4 * len(groups) == len(mine)


def test_a_budget_in_two_that_sample_together(runs, root):
  """Processes that share a replica cut what one of both devices cuts."""
  runs["together"]
  one, two = root / "together" / "one", root / "together" / "two"
  assert_same_losses(two, one)
  assert read_rollouts(two) == read_rollouts(one)
  assert any(r["num_carried"] for r in read_rollouts(two))


def test_a_mistake_is_reported_once(tmp_path):
  output = finish_all(pod("train", tmp_path, **{"rollouts.tensor": 3}), code=1)
  assert output.count("error:") == 1
  assert "rollouts.tensor = 3" in output


def keep_first_iteration(path, key):
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if json.loads(line)[key] == 0]
  path.write_text("".join(kept))


def assert_same_losses(run_dir, other_dir):
  ours, theirs = (read_rows(d / "metrics.jsonl") for d in (run_dir, other_dir))
  assert [row["step"] for row in ours] == [row["step"] for row in theirs]
  for mine, other in zip(ours, theirs, strict=True):
    assert mine.keys() == other.keys()
    names = [name for name in mine if name.startswith(("loss/", "reward/"))]
    np.testing.assert_allclose(
      [mine[name] for name in names],
      [other[name] for name in names],
      atol=1e-4,
      err_msg=f"{mine['step']}: {names}",
    )
