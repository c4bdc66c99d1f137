"""Hugging Face's config.json <-> ModelConfig, one entry per architecture.

In: the dict of a config.json and the model settings, or a ModelConfig. Out:
the other one. Never reads or writes a file.

An architecture ("family") is an entry of FAMILIES: a function that parses its
config.json and one that writes it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kimina_jax.model.config import (
  ModelConfig,
  ModelSettings,
  RopeScaling,
  check_choice,
  computation,
  extend_context,
  scale_rope,
)
from kimina_jax.types import UsageError


class Family(NamedTuple):
  """An architecture, as Hugging Face's config.json describes it.

  Attributes:
    title: names of its models, for messages.
    parse: the dict of a config.json to the fields of ModelConfig that it
      defines; UsageError for a feature that model/ does not implement.
    write: a ModelConfig to the entries of its config.json.
  """

  title: str
  parse: Callable[[Mapping[str, Any]], dict[str, Any]]
  write: Callable[[ModelConfig], dict[str, Any]]


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
  """The config.json that transformers reads for this model.

  Rotary settings are spelled as by transformers 4, which transformers 5 reads
  as well.
  """
  return FAMILIES[config.family].write(config)


def config_from_hf(
  hf: Mapping[str, Any], settings: ModelSettings
) -> ModelConfig:
  """The ModelConfig of a config.json, in the spelling of transformers 4 or 5.

  Args:
    hf: the dict of the config.json, which defines the sizes.
    settings: dtypes and kernels. Its name is only a label here, and a
      yarn_factor above 1 replaces the scaling that the file has.

  Raises:
    UsageError: an unknown architecture, a missing field, or a feature that
      model/ does not implement (sliding window, other rotary scalings).
  """
  model_type = hf.get("model_type")
  if model_type not in FAMILIES:
    known = ", ".join(
      f"{name!r} ({family.title})" for name, family in FAMILIES.items()
    )
    raise UsageError(
      f"config.json: model_type is {model_type!r}; only {known} is supported"
    )
  fields = FAMILIES[model_type].parse(hf)
  scaling = fields.pop("rope_scaling")
  config = ModelConfig(family=model_type, **computation(settings), **fields)
  return extend_context(scale_rope(config, scaling), settings.yarn_factor)


# Fields of ModelConfig → keys of config.json.
_HF_KEYS = {
  "vocab_size": "vocab_size",
  "model_dim": "hidden_size",
  "num_layers": "num_hidden_layers",
  "num_q_heads": "num_attention_heads",
  "num_kv_heads": "num_key_value_heads",
  "head_dim": "head_dim",
  "ffn_dim": "intermediate_size",
  "rope_theta": "rope_theta",
  "norm_eps": "rms_norm_eps",
  "max_position": "max_position_embeddings",
}


def _parse_qwen2(hf: Mapping[str, Any]) -> dict[str, Any]:
  rope = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
  hf = _normalized(hf, rope)
  for key, value in {"hidden_act": "silu", "use_sliding_window": False}.items():
    if hf.get(key, value) != value:
      raise UsageError(
        f"config.json: {key} is {hf[key]!r}; only {value!r} is supported"
      )
  missing = [key for key in _HF_KEYS.values() if hf.get(key) is None]
  if missing:
    raise UsageError(f"config.json lacks {', '.join(missing)}")
  return {
    "tied": bool(hf.get("tie_word_embeddings", False)),
    "rope_scaling": _scaling_from_hf(rope, hf["max_position_embeddings"]),
    **{field: hf[key] for field, key in _HF_KEYS.items()},
  }


def _write_qwen2(config: ModelConfig) -> dict[str, Any]:
  scaling = config.rope_scaling
  return {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "use_sliding_window": False,
    "dtype": config.param_dtype,
    "tie_word_embeddings": config.tied,
    **{key: getattr(config, field) for field, key in _HF_KEYS.items()},
    **({"rope_scaling": _scaling_to_hf(scaling)} if scaling else {}),
  }


def _normalized(
  hf: Mapping[str, Any], rope: Mapping[str, Any]
) -> dict[str, Any]:
  """The dict with rope_theta at the top, and head_dim filled in.

  transformers 5 keeps rope_theta beside the scaling.
  """
  hf = dict(hf)
  hf["rope_theta"] = rope.get("rope_theta", hf.get("rope_theta"))
  if hf.get("head_dim") is None and hf.get("num_attention_heads"):
    hf["head_dim"] = hf.get("hidden_size", 0) // hf["num_attention_heads"]
  return hf


# Fields of RopeScaling → keys of rope_scaling, which has no others.
_ROPE_KEYS = {
  field.name: field.name for field in dataclasses.fields(RopeScaling)
}
_ROPE_KEYS |= {
  "kind": "rope_type",
  "original_max_position": "original_max_position_embeddings",
}
_LINEAR_FIELDS = ("kind", "factor")


def _scaling_from_hf(
  rope: Mapping[str, Any], max_position: int
) -> RopeScaling | None:
  """Absent and null fields take the defaults of transformers."""
  kind = rope.get("rope_type", rope.get("type", "default"))
  if kind == "default":
    return None
  check_choice("config.json: rope_type", kind, ("default", "linear", "yarn"))
  given = {
    field: rope[key]
    for field, key in _ROPE_KEYS.items()
    if rope.get(key) is not None
  }
  given["kind"] = kind
  original = given.setdefault("original_max_position", max_position)
  given.setdefault("factor", max_position / original)
  return RopeScaling(**given)


def _scaling_to_hf(scaling: RopeScaling) -> dict[str, Any]:
  fields = _LINEAR_FIELDS if scaling.kind == "linear" else tuple(_ROPE_KEYS)
  values = {_ROPE_KEYS[field]: getattr(scaling, field) for field in fields}
  return {key: value for key, value in values.items() if value is not None}


# The architectures that can be read and written, by Hugging Face's model_type.
FAMILIES: dict[str, Family] = {
  "qwen2": Family("Qwen2 and Qwen2.5", _parse_qwen2, _write_qwen2),
}
