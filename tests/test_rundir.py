"""A run directory stays one run: same program, same configuration."""

import json
import subprocess
import sys

import pytest

from kimina_jax.infra.rundir import open_run
from kimina_jax.types import UsageError

CONFIG = {"seed": 0, "train": {"num_iterations": 5}, "eval": {"ks": (1, 8)}}


def write_model(path):
  path.mkdir(exist_ok=True)
  (path / "config.json").write_text("{}")


def start(path, config=CONFIG, program="train", begun=True):
  root = open_run(path, config, program=program, write_model=write_model)
  if begun:
    (root / "metrics.jsonl").write_text('{"step": 0}\n')
  return root


def test_again_with_the_same(tmp_path):
  root = start(tmp_path / "run")
  assert start(tmp_path / "run") == root
  saved = json.loads((root / "config.json").read_text())
  assert saved == json.loads(json.dumps({"program": "train", **CONFIG}))


def test_longer_is_the_same_run(tmp_path):
  start(tmp_path)
  start(tmp_path, {**CONFIG, "train": {"num_iterations": 9}})
  start(tmp_path, {**CONFIG, "eval": {"ks": (1,)}})
  start(tmp_path, {**CONFIG, "mesh": {"tensor": 2}})


def test_an_evaluation_is_its_samples(tmp_path):
  """With another number of samples the rows there mean something else."""
  config = {"eval": {"num_samples": 8, "ks": (1,)}}
  start(tmp_path, config, "evaluate")
  start(tmp_path, {"eval": {"num_samples": 8, "ks": (8,)}}, "evaluate")
  with pytest.raises(UsageError, match="eval.num_samples: 8 there, 4 now"):
    start(tmp_path, {"eval": {"num_samples": 4, "ks": (1,)}}, "evaluate")


def test_a_run_that_never_began_binds_nobody(tmp_path):
  start(tmp_path, {**CONFIG, "seed": 7}, begun=False)
  start(tmp_path)
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


def test_two_processes_in_one_directory(tmp_path):
  start(tmp_path)
  code = (
    "from kimina_jax.infra.rundir import open_run\n"
    f"open_run({str(tmp_path)!r}, {CONFIG!r}, program='train', "
    "write_model=lambda path: None)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True
  )
  assert done.returncode
  assert "another process is at work" in done.stderr


def test_another_configuration_is_refused_and_named(tmp_path):
  start(tmp_path)
  with pytest.raises(UsageError, match="seed: 0 there, 1 now"):
    start(tmp_path, {**CONFIG, "seed": 1})
  with pytest.raises(UsageError, match="program: 'train' there, 'sft' now"):
    start(tmp_path, program="sft")
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


def test_unwritable(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UsageError, match="cannot write the run directory"):
    start(tmp_path / "file" / "run")
