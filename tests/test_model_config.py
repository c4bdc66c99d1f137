"""Sizes by name, and config.json against transformers' own reader."""

import dataclasses
import functools

import pytest
import transformers
from plain_settings import model_settings

from kimina_jax.model.config import (
  DEBUG_VOCAB_SIZE,
  ModelConfig,
  RopeScaling,
  model_config,
)
from kimina_jax.model.hf_config import config_from_hf, config_to_hf
from kimina_jax.types import UsageError

OPTIONS = {"compute_dtype": "bfloat16", "remat": "full"}
YARN = {
  "type": "yarn",
  "factor": 4.0,
  "original_max_position_embeddings": 32768,
}


def _named(**changes) -> ModelConfig:
  return model_config(model_settings(**changes))


def _parsed(hf, **changes) -> ModelConfig:
  return config_from_hf(hf, model_settings(**changes))


def test_debug_has_the_sizes_of_the_embedded_default():
  config = _named(**OPTIONS)
  assert config.sizes == {
    **{"L": 4, "D": 128, "N": 4, "K": 2, "H": 32, "F": 256},
    "V": DEBUG_VOCAB_SIZE,
  }
  assert config.tied


@pytest.mark.parametrize(
  "key, value, allowed",
  [
    ("name", "qwen3-8b", "qwen2.5-7b"),
    ("param_dtype", "float16", "bfloat16"),
    ("compute_dtype", "fp32", "float32"),
    ("remat", "some", "none, full"),
    ("attention", "flash", "splash, cudnn"),
    ("yarn_factor", 0.5, "at least 1"),
  ],
)
def test_wrong_value_names_the_key_and_what_is_allowed(key, value, allowed):
  with pytest.raises(UsageError) as error:
    _named(**{"name": "debug", **OPTIONS, key: value})
  text = str(error.value)
  assert f"model.{key}" in text and repr(value) in text and allowed in text


def test_yarn_factor_stretches_what_was_trained_for():
  config = _named(name="qwen2.5-7b", yarn_factor=4, **OPTIONS)
  assert config.max_position == 131072
  assert config.rope_scaling == RopeScaling("yarn", 4, 32768)


def test_yarn_factor_replaces_the_scaling_of_the_weights():
  hf = config_to_hf(_named(name="qwen2.5-7b", **OPTIONS))
  read = functools.partial(_parsed, name="qwen2.5-7b", **OPTIONS)
  kept = read(hf | {"rope_scaling": YARN})
  assert kept == read(hf, yarn_factor=4.0)
  assert read(hf | {"rope_scaling": YARN}, yarn_factor=2.0) == read(
    hf, yarn_factor=2.0
  )


@pytest.mark.parametrize("changes", [{"num_kv_heads": 3}, {"head_dim": 31}])
def test_impossible_heads(changes):
  config = _named(**OPTIONS)
  with pytest.raises(UsageError, match="debug"):
    dataclasses.replace(config, **changes)


@pytest.mark.parametrize("yarn_factor", [1.0, 4.0])
@pytest.mark.parametrize("name", ["debug", "qwen2.5-0.5b", "qwen2.5-72b"])
def test_hf_round_trip(name, yarn_factor):
  config = _named(name=name, yarn_factor=yarn_factor, **OPTIONS)
  again = _parsed(config_to_hf(config), name=name, **OPTIONS)
  assert again == config


@pytest.mark.parametrize("yarn_factor", [1.0, 4.0])
@pytest.mark.parametrize("name", ["debug", "qwen2.5-1.5b", "qwen2.5-7b"])
def test_transformers_reads_to_hf(name, yarn_factor):
  config = _named(name=name, yarn_factor=yarn_factor, **OPTIONS)
  theirs = transformers.Qwen2Config(**config_to_hf(config))
  assert theirs.hidden_size == config.model_dim
  assert theirs.num_key_value_heads == config.num_kv_heads
  assert theirs.rope_parameters["rope_theta"] == config.rope_theta
  assert theirs.tie_word_embeddings == config.tied
  assert str(theirs.dtype) == "torch.float32"
  # And what it writes, in its newer spelling, reads back the same.
  assert _parsed(theirs.to_dict(), name=name, **OPTIONS) == config


def test_from_hf_reads_the_spelling_of_transformers_4():
  hf = {
    "model_type": "qwen2",
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
  }
  config = _named(name="qwen2.5-1.5b", **OPTIONS)
  assert _parsed(hf, name="qwen2.5-1.5b", **OPTIONS) == config
  long = _parsed(hf | {"rope_scaling": YARN}, name="qwen2.5-1.5b", **OPTIONS)
  assert long.max_position == 131072
  assert long.rope_scaling == RopeScaling("yarn", 4.0, 32768)


def test_from_hf_reads_every_field_of_a_scaling():
  fields = {
    "beta_fast": 40.0,
    "beta_slow": 2.0,
    "attention_factor": 1.3,
    "mscale": 0.7,
    "mscale_all_dim": 0.9,
    "truncate": False,
  }
  hf = config_to_hf(_named(**OPTIONS))
  rope = {"rope_type": "yarn", "rope_theta": 5e5, **YARN, **fields}
  found = _parsed(hf | {"rope_parameters": rope}, name="x", **OPTIONS)
  assert found.rope_theta == 5e5
  assert found.rope_scaling == RopeScaling("yarn", 4.0, 32768, **fields)
  assert _parsed(config_to_hf(found), name="x", **OPTIONS) == found


@pytest.mark.parametrize(
  "changes, word",
  [
    ({"model_type": "llama"}, "llama"),
    ({"use_sliding_window": True}, "use_sliding_window"),
    ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "dynamic"),
    ({"rope_scaling": {"type": "yarn", "factor": 0.5}}, "0.5"),
    ({"hidden_act": "gelu"}, "gelu"),
    ({"hidden_size": None}, "hidden_size"),
    ({"rms_norm_eps": None}, "rms_norm_eps"),
  ],
)
def test_from_hf_refuses_what_it_cannot_represent(changes, word):
  hf = config_to_hf(_named(**OPTIONS))
  with pytest.raises(UsageError, match=word):
    _parsed(hf | changes, name="x", **OPTIONS)
