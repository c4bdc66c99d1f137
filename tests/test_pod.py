"""Two processes of four devices follow one process of eight, come what may."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = {
  "train.num_iterations": 3,
  "train.num_problems": 4,
  "train.num_per_problem": 4,
  "train.num_minibatches": 2,
  "rollouts.max_response_len": 48,
  "rollouts.num_slots": 8,
  "rollouts.tensor": 2,
  "mesh.data": 2,
  "mesh.tensor": 2,
  "eval.every": 0,
  "eval.num_samples": 2,
  "eval.ks": "(1,)",
  "problems.num_train": 32,
  "problems.num_eval": 5,
  # A policy this young proves nothing: lengths alone tell rollouts apart.
  "advantage.length_penalty": True,
  "checker.num_workers": 1,
  "checkpoint.every": 1,
  "checkpoint.max_to_keep": 9,
  "sft.num_examples": 48,
  "sft.num_epochs": 2,
  "sft.rows_per_batch": 8,
  "sft.save_every": 2,
  "sft.log_every": 1,
}
SECONDS = ("queue_s", "load_s", "exec_s")


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
  """Starts programs; compilations are shared."""
  cache = tmp_path_factory.mktemp("compiled")

  def launch(command, run_dir, devices, *flags, **overrides):
    settings = [f"--config.{k}={v}" for k, v in (SMALL | overrides).items()]
    experiment = f"--config={ROOT}/configs/debug.py", f"--run_dir={run_dir}"
    environment = os.environ | {
      "PYTHON": sys.executable,
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
      "JAX_COMPILATION_CACHE_DIR": str(cache),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
      [*command, *experiment, *settings, *flags],
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  return launch


@pytest.fixture(scope="module")
def alone(launch):
  """One process with eight devices."""

  def alone(program, run_dir, *flags, **overrides):
    command = (sys.executable, "-m", f"kimina_jax.{program}")
    return launch(command, run_dir, 8, *flags, **overrides)

  return alone


@pytest.fixture(scope="module")
def pod(launch):
  """Two processes with four devices each."""

  def pod(program, run_dir, *flags, **overrides):
    command = ("launch/local_pod.sh", "2", program)
    return launch(command, run_dir, 4, *flags, **overrides)

  return pod


@pytest.fixture(scope="module")
def cold_start(alone, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp("sft")
  finish(alone("sft", run_dir))
  return run_dir


@pytest.fixture(scope="module")
def reinforced(alone, cold_start, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp("rl")
  finish(alone("train", run_dir, init_from=cold_start))
  return run_dir


def test_sft_stopped_in_two_and_resumed_in_one(
  pod, alone, cold_start, tmp_path
):
  job = pod("sft", tmp_path)
  wait_for_rows(job, tmp_path, 3)
  job.send_signal(signal.SIGTERM)
  output = finish(job, code=143)
  assert output.count("stopped: SIGTERM") == 1
  assert "the same command goes on from there" in output
  num_done = len(rows(tmp_path / "metrics.jsonl"))
  assert str(num_done) in os.listdir(tmp_path / "checkpoints")
  finish(alone("sft", tmp_path))
  assert_same_losses(tmp_path, cold_start)


def test_rl_resumed_in_two_and_killed(
  pod, launch, cold_start, reinforced, tmp_path
):
  """Goes on from what one process saved; one of two is killed; goes on."""
  shutil.copytree(reinforced, tmp_path, dirs_exist_ok=True)
  for step in ("2", "3"):
    shutil.rmtree(tmp_path / "checkpoints" / step)
  keep_first_step(tmp_path / "metrics.jsonl")
  keep_first_step(tmp_path / "rollouts.jsonl")
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  jobs = [
    launch(
      (sys.executable, "-m", "kimina_jax.train"),
      tmp_path,
      4,
      f"--coordinator={address}",
      "--num_processes=2",
      f"--process_id={process}",
      init_from=cold_start,
    )
    for process in range(2)
  ]
  wait_for_rows(jobs[0], tmp_path, 2)
  jobs[1].kill()
  jobs[1].communicate()
  started_s = time.monotonic()
  output = finish(jobs[0], code=1)
  assert time.monotonic() - started_s < 60
  assert "error: process 1 is lost" in output
  assert "Run the same command again" in output
  finish(pod("train", tmp_path, init_from=cold_start))
  assert_same_losses(tmp_path, reinforced)
  assert rollouts(tmp_path) == rollouts(reinforced)
  assert (tmp_path / "report.html").exists()


def test_evaluation_in_two(pod, alone, reinforced, tmp_path):
  flag = f"--checkpoint={reinforced}"
  finish(alone("evaluate", tmp_path / "one", flag))
  output = finish(pod("evaluate", tmp_path / "two", flag))
  assert output.count("pass@1") >= 1
  assert rollouts(tmp_path / "two") == rollouts(tmp_path / "one")
  results = [
    json.loads((tmp_path / name / "result.json").read_text())
    for name in ("one", "two")
  ]
  assert results[0] == results[1]
  assert results[0]["num_problems"] == 5


def test_a_budget_in_two_that_sample_apart(pod, cold_start, tmp_path):
  """Each cuts its own rollouts; the groups and their number stay whole."""
  budget = {"train.tokens_per_iteration": 400}
  finish(pod("train", tmp_path, init_from=cold_start, **budget))
  found = rows(tmp_path / "metrics.jsonl")[:-1]
  assert max(row["rollout/carried"] for row in found) > 0
  learned = rollouts(tmp_path)
  assert any(row["began"] < row["iteration"] for row in learned)
  assert len({(row["began"], row["index"]) for row in learned}) == len(learned)
  for row in found:
    mine = [r for r in learned if r["iteration"] == row["iteration"]]
    assert len(mine) == 4 * (4 - row["rollout/carried"])
    groups = {(r["began"], r["index"] // 4, r["name"]) for r in mine}
    assert 4 * len(groups) == len(mine)


def test_a_budget_in_two_that_sample_together(launch, cold_start, tmp_path):
  """Processes that share a replica cut what one of both devices cuts."""
  settings = {
    "init_from": cold_start,
    "train.tokens_per_iteration": 400,
    "mesh.data": 1,
  }
  alone = (sys.executable, "-m", "kimina_jax.train")
  finish(launch(alone, tmp_path / "one", 2, **settings))
  pod = ("launch/local_pod.sh", "2", "train")
  finish(launch(pod, tmp_path / "two", 1, **settings))
  assert_same_losses(tmp_path / "two", tmp_path / "one")
  assert rollouts(tmp_path / "two") == rollouts(tmp_path / "one")
  assert any(r["num_carried"] for r in rollouts(tmp_path / "two"))


def test_a_mistake_is_reported_once(pod, tmp_path):
  output = finish(pod("train", tmp_path, **{"rollouts.tensor": 3}), code=1)
  assert output.count("error:") == 1
  assert "rollouts.tensor = 3" in output


def test_the_run_learned_something(reinforced):
  """Else equal losses would say nothing."""
  found = rows(reinforced / "metrics.jsonl")
  assert sum(row.get("loss/grad_norm", 0) > 0 for row in found) >= 2


def finish(process, code=0):
  output, _ = process.communicate(timeout=300)
  assert process.returncode == code, output
  return output


def wait_for_rows(process, run_dir, count):
  """Until the run has recorded `count` steps; it must not end before."""
  path = run_dir / "metrics.jsonl"
  while not path.exists() or path.read_text().count("\n") < count:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)


def keep_first_step(path):
  lines = path.read_text().splitlines(keepends=True)
  first = ('{"step": 0,', '{"iteration": 0,')
  kept = [line for line in lines if line.startswith(first)]
  path.write_text("".join(kept))


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def rollouts(run_dir):
  return [
    {k: v for k, v in row.items() if k not in SECONDS}
    for row in rows(run_dir / "rollouts.jsonl")
  ]


def assert_same_losses(run_dir, other_dir):
  ours, theirs = (rows(d / "metrics.jsonl") for d in (run_dir, other_dir))
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
