"""The layers of Qwen2.5 as Flax NNX modules; each parameter is declared once.

In: a ModelConfig. Out: modules for embedding, norm, projections of attention
and feed-forward network, which transformer.py combines. Constructing a module
allocates nothing: its parameters are shapes, with dims, initializer and
Hugging Face layout as metadata, from which params.py derives everything else.
A parameter's name ends in its dims. Modules work on each position separately;
transformer.py pins the layouts of what goes in and out.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.nn import initializers

from kimina_jax.infra.mesh import STREAMS, num_shards
from kimina_jax.model import remat
from kimina_jax.model.config import ModelConfig


class Transformer(nnx.Module):
  """The whole model; the parameters of `layers` are stacked on L."""

  def __init__(self, config: ModelConfig):
    self.embed = Embedding(config, hf_name="model.embed_tokens")
    self.layers = Layer(config)
    self.norm = RMSNorm(config, hf_name="model.norm")
    if not config.tied:
      self.unembed = Embedding(config, hf_name="lm_head")


class Layer(nnx.Module):
  """One pre-norm layer: attention, then the gated feed-forward network."""

  def __init__(self, config: ModelConfig):
    prefix = "model.layers.{layer}"
    self.attention_norm = RMSNorm(config, hf_name=f"{prefix}.input_layernorm")
    self.attention = Attention(config, hf_name=f"{prefix}.self_attn")
    self.ffn_norm = RMSNorm(
      config, hf_name=f"{prefix}.post_attention_layernorm"
    )
    self.ffn = FeedForward(config, hf_name=f"{prefix}.mlp")


class Embedding(nnx.Module):
  """A table of V vectors, to embed tokens or to compute logits."""

  def __init__(self, config: ModelConfig, *, hf_name: str):
    self.dtype = jnp.dtype(config.compute_dtype)
    init = initializers.normal(config.model_dim**-0.5)
    self.table_VD = _declare(
      config, "VD", init=init, hf=(f"{hf_name}.weight", "VD")
    )

  def encode(self, tokens_BT: jax.Array) -> jax.Array:
    """Vectors [B, T, D]; cast afterwards, so gradients add in param_dtype."""
    return self.table_VD[...][tokens_BT].astype(self.dtype)

  def decode(self, x_D: jax.Array) -> jax.Array:
    """float32 logits […, V] of normalized vectors […, D]."""
    return jnp.einsum(
      "...D,VD->...V",
      x_D,
      self.table_VD[...].astype(self.dtype),
      preferred_element_type=jnp.float32,
    )


class RMSNorm(nnx.Module):
  """x / rms(x) × scale, in float32 (Zhang & Sennrich 2019, Eq. 4)."""

  def __init__(self, config: ModelConfig, *, hf_name: str):
    self.eps = config.norm_eps
    self.scale_D = _declare(
      config, "D", init=initializers.ones, hf=(f"{hf_name}.weight", "D")
    )

  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    return _rms_norm(x_BTD, self.scale_D[...], self.eps)


class Attention(nnx.Module):
  """Projections of attention; the attention itself is attention.py."""

  def __init__(self, config: ModelConfig, *, hf_name: str):
    self.dtype = jnp.dtype(config.compute_dtype)
    declare = functools.partial(_declare, config)
    init = initializers.normal(config.model_dim**-0.5)
    out_init = _residual_init(config, config.num_q_heads * config.head_dim)
    zeros = initializers.zeros
    q, k, v, o = (f"{hf_name}.{letter}_proj" for letter in "qkvo")
    self.q_DNH = declare("DNH", init=init, hf=(f"{q}.weight", "(NH)D"))
    self.q_bias_NH = declare("NH", init=zeros, hf=(f"{q}.bias", "(NH)"))
    self.k_DKH = declare("DKH", init=init, hf=(f"{k}.weight", "(KH)D"))
    self.k_bias_KH = declare("KH", init=zeros, hf=(f"{k}.bias", "(KH)"))
    self.v_DKH = declare("DKH", init=init, hf=(f"{v}.weight", "(KH)D"))
    self.v_bias_KH = declare("KH", init=zeros, hf=(f"{v}.bias", "(KH)"))
    self.o_NHD = declare("NHD", init=out_init, hf=(f"{o}.weight", "D(NH)"))

  def project(self, x_BTD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Queries [B, T, N, H], keys and values [B, T, K, H], not yet rotated."""
    q_BTNH = _einsum("BTD,DNH->BTNH", x_BTD, self._cast(self.q_DNH))
    k_BTKH = _einsum("BTD,DKH->BTKH", x_BTD, self._cast(self.k_DKH))
    v_BTKH = _einsum("BTD,DKH->BTKH", x_BTD, self._cast(self.v_DKH))
    return (
      q_BTNH + self._cast(self.q_bias_NH)[None, None],
      k_BTKH + self._cast(self.k_bias_KH)[None, None],
      v_BTKH + self._cast(self.v_bias_KH)[None, None],
    )

  def merge(self, out_BTNH: jax.Array) -> jax.Array:
    """The output projection, from heads to the residual stream."""
    return _einsum("BTNH,NHD->BTD", out_BTNH, self._cast(self.o_NHD))

  def _cast(self, param: nnx.Param) -> jax.Array:
    return param[...].astype(self.dtype)


class FeedForward(nnx.Module):
  """The SwiGLU feed-forward network (Shazeer 2020, Eq. 6)."""

  def __init__(self, config: ModelConfig, *, hf_name: str):
    self.dtype = jnp.dtype(config.compute_dtype)
    declare = functools.partial(_declare, config)
    init = initializers.normal(config.model_dim**-0.5)
    out_init = _residual_init(config, config.ffn_dim)
    gate, up, down = (f"{hf_name}.{n}_proj" for n in ("gate", "up", "down"))
    self.gate_DF = declare("DF", init=init, hf=(f"{gate}.weight", "FD"))
    self.up_DF = declare("DF", init=init, hf=(f"{up}.weight", "FD"))
    self.down_FD = declare("FD", init=out_init, hf=(f"{down}.weight", "DF"))

  def expand(self, x_BTD: jax.Array) -> jax.Array:
    """The gated hidden units [B, T, F]."""
    gate_BTF = _einsum("BTD,DF->BTF", x_BTD, self._cast(self.gate_DF))
    up_BTF = _einsum("BTD,DF->BTF", x_BTD, self._cast(self.up_DF))
    gate_BTF = checkpoint_name(gate_BTF, remat.GATE)
    up_BTF = checkpoint_name(up_BTF, remat.UP)
    return _swiglu(gate_BTF, up_BTF)

  def contract(self, hidden_BTF: jax.Array) -> jax.Array:
    """The output projection, from hidden units to the residual stream."""
    return _einsum("BTF,FD->BTD", hidden_BTF, self._cast(self.down_FD))

  def _cast(self, param: nnx.Param) -> jax.Array:
    return param[...].astype(self.dtype)


def _einsum(dims: str, x_BT: jax.Array, weight: jax.Array) -> jax.Array:
  """jnp.einsum of activations, whose first dims are BT, and a weight.

  Where the mesh does not split positions, B is merged into T. The gradient of
  the weight is then a sum over one dim; over two, XLA's CPU backend first
  transposes a copy of the activations and takes twice as long. Where positions
  are split, no layout of a merged dim would leave each token on its device.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty and num_shards(mesh, "T", STREAMS["train"]) > 1:
    return jnp.einsum(dims, x_BT, weight)
  x_T = x_BT.reshape(-1, *x_BT.shape[2:])
  out_T = jnp.einsum(dims.replace("BT", "T"), x_T, weight)
  return out_T.reshape(*x_BT.shape[:2], *out_T.shape[1:])


# Recomputing these in backward is cheaper than loading saved activations,
# whatever the remat policy of the layer.
_elementwise = functools.partial(jax.checkpoint, prevent_cse=False)


@_elementwise
def _swiglu(gate_BTF: jax.Array, up_BTF: jax.Array) -> jax.Array:
  return jax.nn.silu(gate_BTF) * up_BTF


@functools.partial(_elementwise, static_argnums=2)
def _rms_norm(x_BTD: jax.Array, scale_D: jax.Array, eps: float) -> jax.Array:
  x32_BTD = x_BTD.astype(jnp.float32)
  mean_BT1 = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
  normed_BTD = x32_BTD * jax.lax.rsqrt(mean_BT1 + eps)
  # Hugging Face's order: back to the compute dtype, then the scale.
  normed_BTD = normed_BTD.astype(x_BTD.dtype)
  return normed_BTD * scale_D.astype(x_BTD.dtype)[None, None]


def _declare(
  config: ModelConfig,
  dims: str,
  *,
  init: Callable[..., jax.Array],
  hf: tuple[str, str],
) -> nnx.Param:
  """A parameter's shape and metadata.

  Args:
    config: gives the sizes.
    dims: letters of the parameter's dims.
    init: initializer.
    hf: Hugging Face's name and layout; dims in parentheses are merged into one
      there: "(NH)D".
  """
  shape = tuple(config.sizes[dim] for dim in dims)
  return nnx.Param(
    jax.ShapeDtypeStruct(shape, jnp.dtype(config.param_dtype)),
    dims=dims,
    init=init,
    hf_name=hf[0],
    hf_dims=hf[1],
  )


def _residual_init(
  config: ModelConfig, fan_in: int
) -> Callable[..., jax.Array]:
  """Initializer of the 2 L residual branches, whose sum has unit variance."""
  return initializers.normal((fan_in * 2 * config.num_layers) ** -0.5)
