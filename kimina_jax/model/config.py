"""The configuration of a model: its sizes, dtypes and kernels.

In: the model section of an experiment (ModelSettings), whose name stands for
one of the sizes below. Out: a ModelConfig, which everything in model/ works
from. Never reads a file and never allocates an array. hf_config.py translates
between a ModelConfig and Hugging Face's config.json.
"""

import dataclasses
from typing import Any

from kimina_jax.types import UsageError, check_numbers

DTYPES = ("float32", "bfloat16")
REMATS = ("none", "full", "save_attention", "save_projections", "offload")
ATTENTIONS = ("auto", "splash", "cudnn", "xla")
# Fields of ModelConfig that decide the shapes of the weights.
SHAPE_FIELDS = (
  "vocab_size",
  "model_dim",
  "num_layers",
  "num_q_heads",
  "num_kv_heads",
  "head_dim",
  "ffn_dim",
  "tied",
)

# Vocabulary of the embedded tokenizer.
DEBUG_VOCAB_SIZE = 672


@dataclasses.dataclass(frozen=True)
class ModelSettings:
  """The `model` section of an experiment.

  Attributes:
    name: a key of SIZES, such as "qwen2.5-7b".
    param_dtype: dtype of the master weights, one of DTYPES.
    compute_dtype: dtype of activations and matmuls, one of DTYPES.
    remat: what the backward pass recomputes, one of REMATS; see
      remat.py.
    attention: kernel of attention, one of ATTENTIONS; see attention.py.
    yarn_factor: context extension by YaRN, as a multiple of the positions that
      the weights were trained for; 1 is off.
  """

  name: str
  param_dtype: str
  compute_dtype: str
  remat: str
  attention: str
  yarn_factor: float

  def __post_init__(self):
    _check_choices(self)
    check_numbers("model", self)
    if self.yarn_factor < 1:
      raise UsageError(
        f"model.yarn_factor = {self.yarn_factor} must be at least 1, which is"
        " off"
      )


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary embeddings are scaled to positions beyond those trained for.

  The fields are those of transformers' `rope_scaling`; None stands for the
  value that follows from the factor.

  Example:
    RopeScaling(kind="yarn", factor=4.0, original_max_position=32768)

  Attributes:
    kind: "yarn" (Peng et al. 2023, arXiv 2309.00071), or "linear" (Chen et
      al. 2023, arXiv 2306.15595), which uses the factor alone.
    factor: extension of the context, as a multiple of original_max_position.
    original_max_position: number of positions the weights were trained for.
    beta_fast: frequencies with at least this many rotations within
      original_max_position are kept as they are.
    beta_slow: frequencies with at most this many rotations are divided by the
      factor.
    attention_factor: multiplies cosines and sines.
    mscale: weight of log(factor) in the attention factor ...
    mscale_all_dim: ... and in its divisor.
    truncate: whether the two bounds between frequencies are rounded to whole
      dims.
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
  """One model: its sizes, and how it is stored and computed.

  Example:
    settings = ModelSettings(**config.model)
    model_config(settings).num_layers

  Attributes:
    name: for messages only; the sizes define the model.
    vocab_size: V.
    model_dim: D.
    num_layers: L.
    num_q_heads: N.
    num_kv_heads: K.
    head_dim: H.
    ffn_dim: F.
    tied: whether the unembedding is the embedding's table.
    rope_theta: base of the rotary wavelengths.
    norm_eps: added to the mean square in RMSNorm.
    max_position: number of positions the model supports, scaling included.
    param_dtype: dtype of the master weights.
    compute_dtype: dtype of activations and matmuls; norms, softmax, rotary
      angles and logits are always float32.
    remat: what the backward pass recomputes; see remat.py.
    attention: kernel of attention; see attention.py.
    rope_scaling: None for the positions that the weights were trained for.
    family: architecture, a key of hf_config.FAMILIES.
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
  family: str = "qwen2"

  def __post_init__(self):
    _check_choices(self)
    if self.num_q_heads % self.num_kv_heads:
      raise UsageError(
        f"model {self.name}: {self.num_q_heads} query heads are not a multiple"
        f" of {self.num_kv_heads} kv heads"
      )
    if self.head_dim % 2:
      raise UsageError(
        f"model {self.name}: head_dim {self.head_dim} is odd; rotary"
        " embeddings rotate pairs"
      )

  @property
  def sizes(self) -> dict[str, int]:
    """Size of each dim of the parameters, by its letter."""
    return {
      "L": self.num_layers,
      "D": self.model_dim,
      "N": self.num_q_heads,
      "K": self.num_kv_heads,
      "H": self.head_dim,
      "F": self.ffn_dim,
      "V": self.vocab_size,
    }


def model_config(settings: ModelSettings) -> ModelConfig:
  """The ModelConfig of the model that the settings name.

  Raises:
    UsageError: no model of that name in SIZES.
  """
  check_choice("model.name", settings.name, tuple(SIZES))
  config = ModelConfig(**computation(settings), **SIZES[settings.name])
  return extend_context(config, settings.yarn_factor)


def computation(settings: ModelSettings) -> dict[str, Any]:
  """The fields of a ModelConfig that the settings define, but for sizes."""
  return {
    "name": settings.name,
    "param_dtype": settings.param_dtype,
    "compute_dtype": settings.compute_dtype,
    "remat": settings.remat,
    "attention": settings.attention,
  }


def extend_context(config: ModelConfig, yarn_factor: float) -> ModelConfig:
  """The config with YaRN to a multiple of the positions trained for.

  It replaces a scaling that the config already has. A factor of 1 returns the
  config as it is.
  """
  if yarn_factor == 1:
    return config
  given = config.rope_scaling
  original = given.original_max_position if given else config.max_position
  config = dataclasses.replace(config, max_position=original)
  return scale_rope(config, RopeScaling("yarn", yarn_factor, original))


def scale_rope(config: ModelConfig, scaling: RopeScaling | None) -> ModelConfig:
  """The config with this scaling, and the positions that it extends to."""
  num_positions = config.max_position
  if scaling is not None and scaling.kind == "yarn":
    extended = round(scaling.factor * scaling.original_max_position)
    num_positions = max(num_positions, extended)
  return dataclasses.replace(
    config, rope_scaling=scaling, max_position=num_positions
  )


def check_vocabulary(config: ModelConfig, num_tokens: int) -> None:
  """Raises UsageError for a tokenizer with more tokens than the model has."""
  if num_tokens > config.vocab_size:
    raise UsageError(
      f"the tokenizer has {num_tokens} tokens, model {config.name}"
      f" {config.vocab_size}; choose the tokenizer of this model"
    )


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
  """Raises UsageError for a value that is not among the choices."""
  if value not in choices:
    raise UsageError(f"{key} is {value!r}; choose one of {', '.join(choices)}")


def _check_choices(record: ModelSettings | ModelConfig) -> None:
  check_choice("model.param_dtype", record.param_dtype, DTYPES)
  check_choice("model.compute_dtype", record.compute_dtype, DTYPES)
  check_choice("model.remat", record.remat, REMATS)
  check_choice("model.attention", record.attention, ATTENTIONS)


def _qwen2_5(
  *,
  vocab_size: int,
  model_dim: int,
  num_layers: int,
  num_q_heads: int,
  num_kv_heads: int,
  ffn_dim: int,
  tied: bool,
  head_dim: int = 128,
  norm_eps: float = 1e-6,
) -> dict[str, Any]:
  """Sizes of a Qwen2.5 model (arXiv 2412.15115, Table 1)."""
  return {
    "vocab_size": vocab_size,
    "model_dim": model_dim,
    "num_layers": num_layers,
    "num_q_heads": num_q_heads,
    "num_kv_heads": num_kv_heads,
    "head_dim": head_dim,
    "ffn_dim": ffn_dim,
    "tied": tied,
    "rope_theta": 1e6,
    "norm_eps": norm_eps,
    "max_position": 32768,
  }


# The models that `model.name` may be: fields of ModelConfig.
SIZES: dict[str, dict[str, Any]] = {
  "debug": {
    "vocab_size": DEBUG_VOCAB_SIZE,
    "model_dim": 128,
    "num_layers": 4,
    "num_q_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 32,
    "ffn_dim": 256,
    "tied": True,
    "rope_theta": 1e4,
    "norm_eps": 1e-6,
    "max_position": 2048,
  },
  "qwen2.5-0.5b": _qwen2_5(
    vocab_size=151936,
    model_dim=896,
    num_layers=24,
    num_q_heads=14,
    num_kv_heads=2,
    head_dim=64,
    ffn_dim=4864,
    tied=True,
  ),
  "qwen2.5-1.5b": _qwen2_5(
    vocab_size=151936,
    model_dim=1536,
    num_layers=28,
    num_q_heads=12,
    num_kv_heads=2,
    ffn_dim=8960,
    tied=True,
  ),
  "qwen2.5-3b": _qwen2_5(
    vocab_size=151936,
    model_dim=2048,
    num_layers=36,
    num_q_heads=16,
    num_kv_heads=2,
    ffn_dim=11008,
    tied=True,
  ),
  "qwen2.5-7b": _qwen2_5(
    vocab_size=152064,
    model_dim=3584,
    num_layers=28,
    num_q_heads=28,
    num_kv_heads=4,
    ffn_dim=18944,
    tied=False,
  ),
  "qwen2.5-14b": _qwen2_5(
    vocab_size=152064,
    model_dim=5120,
    num_layers=48,
    num_q_heads=40,
    num_kv_heads=8,
    ffn_dim=13824,
    tied=False,
    norm_eps=1e-5,
  ),
  "qwen2.5-32b": _qwen2_5(
    vocab_size=152064,
    model_dim=5120,
    num_layers=64,
    num_q_heads=40,
    num_kv_heads=8,
    ffn_dim=27648,
    tied=False,
    norm_eps=1e-5,
  ),
  "qwen2.5-72b": _qwen2_5(
    vocab_size=152064,
    model_dim=8192,
    num_layers=80,
    num_q_heads=64,
    num_kv_heads=8,
    ffn_dim=29568,
    tied=False,
    norm_eps=1e-5,
  ),
}
