"""A run directory stays one run: same program, same configuration."""

import json

import pytest

from kimina_jax.infra.rundir import open_run
from kimina_jax.types import UsageError

CONFIG = {"seed": 0, "train": {"num_iterations": 5}, "eval": {"ks": (1, 8)}}


def write_model(path):
  path.mkdir(exist_ok=True)
  (path / "config.json").write_text("{}")


def start(path, config=CONFIG, program="train"):
  return open_run(path, config, program=program, write_model=write_model)


def test_again_with_the_same(tmp_path):
  root = start(tmp_path / "run")
  assert start(tmp_path / "run") == root
  saved = json.loads((root / "config.json").read_text())
  assert saved == json.loads(json.dumps({"program": "train", **CONFIG}))


def test_longer_is_the_same_run(tmp_path):
  start(tmp_path)
  start(tmp_path, {**CONFIG, "train": {"num_iterations": 9}})
  start(tmp_path, {**CONFIG, "eval": {"ks": (1,)}})


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
