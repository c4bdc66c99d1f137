"""Sizes of Qwen2.5 models by name, and Hugging Face's config.json.

In: a name with dtypes, or the dict of a config.json. Out: a ModelConfig (or
the dict). Never reads a file and never allocates an array.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kimina_jax.types import UsageError

DTYPES = ("float32", "bfloat16")
REMATS = ("none", "full", "save_attention", "save_projections", "offload")
ATTENTIONS = ("auto", "splash", "cudnn", "xla")

# Vocabulary of the embedded tokenizer.
DEBUG_VOCAB_SIZE = 672


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary embeddings reach beyond the positions trained for.

  The fields are those of transformers' `rope_scaling`, where None stands for
  what follows from the factor.

  Example:
    RopeScaling(kind="yarn", factor=4.0, original_max_position=32768)

  Attributes:
    kind: "yarn" (Peng et al. 2023, arXiv 2309.00071), or "linear" (Chen et
      al. 2023, arXiv 2306.15595), which reads the factor alone.
    factor: how many times as far.
    original_max_position: positions trained for.
    beta_fast: frequencies that turn this often in them stay as they are.
    beta_slow: those that turn this rarely are divided by the factor.
    attention_factor: what cosines and sines are multiplied by.
    mscale: weight of the factor's logarithm in the attention factor ...
    mscale_all_dim: ... and in what it is divided by.
    truncate: the two bounds are rounded to whole dims.
  """

  kind: str
  factor: float
  original_max_position: int
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  attention_factor: float | None = None
  mscale: float | None = None
  mscale_all_dim: float | None = None
  truncate: bool = True

  def __post_init__(self):
    if self.factor < 1:
      raise UsageError(
        f"factor {self.factor} of scaled rotary embeddings must be at least 1"
      )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """One Qwen2.5 model: its sizes, and how it is stored and computed.

  Example:
    model_config(name="qwen2.5-1.5b", param_dtype="float32",
                 compute_dtype="bfloat16", remat="full")

  Attributes:
    name: for people; sizes decide.
    vocab_size: V.
    model_dim: D.
    num_layers: L.
    num_q_heads: N.
    num_kv_heads: K.
    head_dim: H.
    ffn_dim: F.
    tied: the unembedding is the embedding.
    rope_theta: base of the rotary wavelengths.
    norm_eps: added to the mean square in RMSNorm.
    max_position: positions that the weights are good for, scaling included.
    param_dtype: of the master weights.
    compute_dtype: of activations and matmuls; norms, softmax, rotary angles
      and logits are float32 whatever it is.
    remat: what backward computes again; remat.py explains the names.
    attention: which kernel attends; attention.py explains the names.
    rope_scaling: None uses the positions trained for.
  """

  name: str
  vocab_size: int
  model_dim: int
  num_layers: int
  num_q_heads: int
  num_kv_heads: int
  head_dim: int
  ffn_dim: int
  tied: bool
  rope_theta: float
  norm_eps: float
  max_position: int
  param_dtype: str
  compute_dtype: str
  remat: str
  attention: str = "auto"
  rope_scaling: RopeScaling | None = None

  def __post_init__(self):
    _check_choice("model.param_dtype", self.param_dtype, DTYPES)
    _check_choice("model.compute_dtype", self.compute_dtype, DTYPES)
    _check_choice("model.remat", self.remat, REMATS)
    _check_choice("model.attention", self.attention, ATTENTIONS)
    if self.num_q_heads % self.num_kv_heads:
      raise UsageError(
        f"model {self.name}: {self.num_q_heads} query heads do not share"
        f" {self.num_kv_heads} kv heads evenly"
      )
    if self.head_dim % 2:
      raise UsageError(
        f"model {self.name}: head_dim {self.head_dim} is odd; rotary"
        " embeddings turn pairs"
      )

  @property
  def sizes(self) -> dict[str, int]:
    """Letter of the alphabet → size, for the dims of parameters."""
    return {
      "L": self.num_layers,
      "D": self.model_dim,
      "N": self.num_q_heads,
      "K": self.num_kv_heads,
      "H": self.head_dim,
      "F": self.ffn_dim,
      "V": self.vocab_size,
    }


def model_config(
  *,
  name: str,
  param_dtype: str,
  compute_dtype: str,
  remat: str,
  attention: str = "auto",
  yarn_factor: float = 1.0,
) -> ModelConfig:
  """The model of this name.

  Args:
    name: of a size.
    param_dtype: as in ModelConfig.
    compute_dtype: as in ModelConfig.
    remat: as in ModelConfig.
    attention: as in ModelConfig.
    yarn_factor: above 1, YaRN to that many times the positions trained for.

  Raises:
    UsageError: a name or a choice that it does not know.
  """
  _check_choice("model.name", name, tuple(_SIZES))
  config = ModelConfig(
    name=name,
    param_dtype=param_dtype,
    compute_dtype=compute_dtype,
    remat=remat,
    attention=attention,
    **_SIZES[name],
  )
  return _stretch(config, yarn_factor)


def to_hf(config: ModelConfig) -> dict[str, Any]:
  """The config.json that Hugging Face's Qwen2 reads.

  Rotary settings are spelled as by transformers 4, which transformers 5 reads
  as well.
  """
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


def from_hf(
  hf: Mapping[str, Any],
  *,
  name: str,
  param_dtype: str,
  compute_dtype: str,
  remat: str,
  attention: str = "auto",
  yarn_factor: float = 1.0,
) -> ModelConfig:
  """Reads a config.json, in the spelling of transformers 4 or 5.

  The keyword arguments are those of `model_config`; a yarn_factor above 1
  replaces the scaling that the file has.

  Raises:
    UsageError: not a Qwen2 model, a field is missing, or a feature is on
      that this model does not have (sliding window, other rotary scalings).
  """
  if hf.get("model_type") != "qwen2":
    raise UsageError(
      f"config.json: model_type is {hf.get('model_type')!r}; only 'qwen2'"
      " (Qwen2 and Qwen2.5) is supported"
    )
  rope = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
  hf = _fill_in(hf, rope)
  _check_features(hf)
  missing = [key for key in _HF_KEYS.values() if hf.get(key) is None]
  if missing:
    raise UsageError(f"config.json lacks {', '.join(missing)}")
  scaling = _scaling_from_hf(rope, hf["max_position_embeddings"])
  config = ModelConfig(
    name=name,
    tied=bool(hf.get("tie_word_embeddings", False)),
    param_dtype=param_dtype,
    compute_dtype=compute_dtype,
    remat=remat,
    attention=attention,
    **{field: hf[key] for field, key in _HF_KEYS.items()},
  )
  return _stretch(_scaled(config, scaling), yarn_factor)


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


# Fields of RopeScaling → keys of rope_scaling, which has no others.
_ROPE_KEYS = {
  field.name: field.name for field in dataclasses.fields(RopeScaling)
}
_ROPE_KEYS |= {
  "kind": "rope_type",
  "original_max_position": "original_max_position_embeddings",
}
_LINEAR_KEYS = ("kind", "factor")


def _fill_in(hf: Mapping[str, Any], rope: Mapping[str, Any]) -> dict[str, Any]:
  """Lifts what transformers 5 keeps beside the scaling; the usual head_dim."""
  hf = dict(hf)
  hf["rope_theta"] = rope.get("rope_theta", hf.get("rope_theta"))
  if hf.get("head_dim") is None and hf.get("num_attention_heads"):
    hf["head_dim"] = hf.get("hidden_size", 0) // hf["num_attention_heads"]
  return hf


def _check_features(hf: Mapping[str, Any]) -> None:
  for key, value in {"hidden_act": "silu", "use_sliding_window": False}.items():
    if hf.get(key, value) != value:
      raise UsageError(
        f"config.json: {key} is {hf[key]!r}; only {value!r} is supported"
      )


def _scaling_from_hf(
  rope: Mapping[str, Any], max_position: int
) -> RopeScaling | None:
  """Absent and null fields take the values that transformers gives them."""
  kind = rope.get("rope_type", rope.get("type", "default"))
  if kind == "default":
    return None
  _check_choice("config.json: rope_type", kind, ("default", "linear", "yarn"))
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
  fields = _LINEAR_KEYS if scaling.kind == "linear" else tuple(_ROPE_KEYS)
  values = {_ROPE_KEYS[x]: getattr(scaling, x) for x in fields}
  return {key: value for key, value in values.items() if value is not None}


def _scaled(config: ModelConfig, scaling: RopeScaling | None) -> ModelConfig:
  """With this scaling, and as many positions as it reaches."""
  reach = config.max_position
  if scaling is not None and scaling.kind == "yarn":
    reach = max(reach, round(scaling.factor * scaling.original_max_position))
  return dataclasses.replace(config, rope_scaling=scaling, max_position=reach)


def _stretch(config: ModelConfig, yarn_factor: float) -> ModelConfig:
  """YaRN from the positions trained for; a factor of 1 changes nothing."""
  if yarn_factor < 1:
    raise UsageError(
      f"model.yarn_factor = {yarn_factor} must be at least 1, which is off"
    )
  if yarn_factor == 1:
    return config
  given = config.rope_scaling
  original = given.original_max_position if given else config.max_position
  config = dataclasses.replace(config, max_position=original)
  return _scaled(config, RopeScaling("yarn", yarn_factor, original))


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
  if value not in choices:
    raise UsageError(f"{key} is {value!r}; choose one of {', '.join(choices)}")


_FIELDS = (
  *("vocab_size", "model_dim", "num_layers", "num_q_heads", "num_kv_heads"),
  *("head_dim", "ffn_dim", "tied", "rope_theta", "norm_eps", "max_position"),
)
_ROWS = {
  # V, D, L, N, K, H, F, tied, θ, ε, positions
  "debug": (DEBUG_VOCAB_SIZE, 128, 4, 4, 2, 32, 256, True, 1e4, 1e-6, 2048),
  "qwen2.5-0.5b": (151936, 896, 24, 14, 2, 64, 4864, True, 1e6, 1e-6, 32768),
  "qwen2.5-1.5b": (151936, 1536, 28, 12, 2, 128, 8960, True, 1e6, 1e-6, 32768),
  "qwen2.5-3b": (151936, 2048, 36, 16, 2, 128, 11008, True, 1e6, 1e-6, 32768),
  "qwen2.5-7b": (152064, 3584, 28, 28, 4, 128, 18944, False, 1e6, 1e-6, 32768),
  "qwen2.5-14b": (152064, 5120, 48, 40, 8, 128, 13824, False, 1e6, 1e-5, 32768),
  "qwen2.5-32b": (152064, 5120, 64, 40, 8, 128, 27648, False, 1e6, 1e-5, 32768),
  "qwen2.5-72b": (152064, 8192, 80, 64, 8, 128, 29568, False, 1e6, 1e-5, 32768),
}
_SIZES = {
  name: dict(zip(_FIELDS, row, strict=True)) for name, row in _ROWS.items()
}
