"""KV-cache quantization: dtypes of the cache, and a scale per channel.

In: weights, keys and values. Out: scales, and keys and values in the dtype of
the cache. Scales follow from the weights alone and never from cached values,
so that a rollout does not depend on the sequences sampled before it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.model.config import ModelConfig

CACHE_DTYPES = ("auto", "float32", "bfloat16", "int8", "float8_e4m3fn")
_LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}
# Range of the quantized dtypes in standard deviations of a key or value. A
# wider range makes int8 coarser, but not fp8.
_RANGE = {"int8": 8.0, "float8_e4m3fn": 32.0}


def cache_dtype(config: ModelConfig, dtype: str) -> jnp.dtype:
  """The dtype of the cache that a configured name stands for."""
  return jnp.dtype(config.compute_dtype if dtype == "auto" else dtype)


def is_quantized(dtype: str) -> bool:
  """Whether a dtype stores keys and values divided by a scale."""
  return dtype in _LARGEST


def kv_scales(
  params: dict[str, Any], config: ModelConfig, dtype: str
) -> jax.Array | None:
  """Divisors of keys and values for a quantized dtype: float32 [L, Y, H].

  One scale per channel, since keys have outlier channels, the same ones for all
  tokens (Liu et al. 2024, KIVI, arXiv 2402.02750, §3). It follows from the
  weights: the input of attention has unit mean square after its norm, so a
  channel is distributed around its bias with a standard deviation that the
  weights give. The rotary embedding mixes the channels h and h + H/2, which
  therefore share a scale. Values beyond the range are clipped.

  Args:
    params: of the model.
    config: of the model.
    dtype: of CACHE_DTYPES.

  Returns:
    None for a dtype that is not quantized.
  """
  if not is_quantized(dtype):
    return None
  layers = params["layers"]
  gain_LD = layers["attention_norm"]["scale_D"].astype(jnp.float32)

  def reach(weight_LDKH: jax.Array, bias_LKH: jax.Array) -> jax.Array:
    weight_LDKH = weight_LDKH.astype(jnp.float32) * gain_LD[..., None, None]
    deviation_LKH = jnp.sqrt(jnp.sum(jnp.square(weight_LDKH), axis=1))
    return jnp.abs(bias_LKH.astype(jnp.float32)) + _RANGE[dtype] * deviation_LKH

  weights = layers["attention"]
  k_LKH = reach(weights["k_DKH"], weights["k_bias_KH"])
  k_LK2 = jnp.linalg.norm(k_LKH.reshape(*k_LKH.shape[:2], 2, -1), axis=2)
  k_LKH = jnp.concatenate((k_LK2, k_LK2), axis=-1)
  v_LKH = reach(weights["v_DKH"], weights["v_bias_KH"])
  scale_LYH = interleave(k_LKH, v_LKH) / _LARGEST[dtype]
  return jnp.maximum(scale_LYH, jnp.finfo(jnp.float32).tiny)


def interleave(k_TKH: jax.Array, v_TKH: jax.Array) -> jax.Array:
  """Key and value of each head side by side: […, Y, H]."""
  pairs = jnp.stack((k_TKH, v_TKH), axis=-2)
  return pairs.reshape(*k_TKH.shape[:-2], -1, k_TKH.shape[-1])


def quantize(
  kv_TYH: jax.Array, scale_YH: jax.Array, dtype: jnp.dtype
) -> jax.Array:
  """Keys and values divided by their scale, clipped to the dtype's range.

  Integers are rounded; the cast itself is left to the caller.
  """
  largest = _LARGEST[dtype.name]
  scaled_TYH = kv_TYH.astype(jnp.float32) / scale_YH[None]
  scaled_TYH = jnp.clip(scaled_TYH, -largest, largest)
  return jnp.round(scaled_TYH) if dtype == jnp.int8 else scaled_TYH


def scale_heads(x_TNH: jax.Array, scale_KH: jax.Array) -> jax.Array:
  """Query heads times the scale of the kv head that each attends to."""
  scale_NH = jnp.repeat(scale_KH, x_TNH.shape[1] // len(scale_KH), axis=0)
  return (x_TNH.astype(jnp.float32) * scale_NH[None]).astype(x_TNH.dtype)
