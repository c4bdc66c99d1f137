"""Every experiment loads, is locked, and holds only keys of common.py."""

import importlib
import pathlib

import pytest
from ml_collections import ConfigDict

from kimina_jax.infra import config_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = config_file.names()


def load(name: str) -> ConfigDict:
  return importlib.import_module(f"kimina_jax.configs.{name}").get_config()


def keys(config: ConfigDict, prefix: str = "") -> dict[str, type]:
  found = {}
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      found |= keys(value, f"{prefix}{key}.")
    else:
      found[prefix + key] = type(value)
  return found


@pytest.mark.parametrize("name", NAMES)
def test_same_keys_and_types_as_common(name):
  assert keys(load(name)) == keys(load("common"))


@pytest.mark.parametrize("name", NAMES)
def test_locked(name):
  with pytest.raises(AttributeError):
    load(name).no_such_key = 1


@pytest.mark.parametrize("name", NAMES)
def test_docstring_states_command_and_machine(name):
  text = importlib.import_module(f"kimina_jax.configs.{name}").__doc__
  if name != "common":
    assert "Machine:" in text
    assert "./launch/" in text or f"--config={name}" in text


@pytest.mark.parametrize("name", NAMES)
def test_sections_are_valid(name):
  """What can be checked without weights, data or devices is checked."""
  from kimina_jax.model.config import model_config
  from kimina_jax.pipeline.experiment import Experiment

  experiment = Experiment.from_config(load(name))
  model = model_config(experiment.model)
  assert model.num_q_heads % model.num_kv_heads == 0
  longest = experiment.rollouts.max_sequence_len
  assert longest <= model.max_position
  if name not in ("eval_minif2f", "sft"):
    assert longest <= experiment.train.sequence_len


def test_common_is_valid_as_it_stands(tmp_path):
  from kimina_jax.pipeline.experiment import Experiment
  from kimina_jax.pipeline.validate import validate

  experiment = Experiment.from_config(load("common"))
  validate(experiment, program="train", run_dir=str(tmp_path / "run"))


def test_common_takes_no_argument():
  from kimina_jax.configs import common

  with pytest.raises(ValueError, match="no argument"):
    common.get_config("x")
