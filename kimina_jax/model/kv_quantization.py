"""Keys and values in few bits: their dtypes, and a scale for each channel.

In: weights, keys and values. Out: scales, and keys and values as a cache holds
them. Never looks at what was cached, so that a rollout does not depend on who
came before it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.model.config import ModelConfig

DTYPES = ("auto", "float32", "bfloat16", "int8", "float8_e4m3fn")
_LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}
# Standard deviations of a key that the narrow dtypes have room for. A float
# loses nothing by room, an integer loses resolution.
_ROOM = {"int8": 8.0, "float8_e4m3fn": 32.0}


def cache_dtype(config: ModelConfig, dtype: str) -> jnp.dtype:
  """What a configured name stands for."""
  return jnp.dtype(config.compute_dtype if dtype == "auto" else dtype)


def has_scales(dtype: str) -> bool:
  """Whether a dtype is too narrow for keys and values as they are."""
  return dtype in _LARGEST


def kv_scales(
  params: dict[str, Any], config: ModelConfig, dtype: str
) -> jax.Array | None:
  """What to divide keys and values by, for a narrow dtype [L, C, H].

  One number per channel, since keys have channels that stick out, the same
  ones for all tokens (Liu et al. 2024, KIVI, arXiv 2402.02750, §3). It follows
  from the weights: what attention reads has unit mean square after its norm,
  so a channel lies around its bias with the deviation that the weights give
  it. Rotation mixes the channels h and h + H/2, which share a scale. What lies
  beyond is clipped.

  Args:
    params: of the model.
    config: of the model.
    dtype: of DTYPES; None is returned for those that need no scale.
  """
  if not has_scales(dtype):
    return None
  layers = params["layers"]
  gain_LD = layers["attention_norm"]["scale_D"].astype(jnp.float32)

  def reach(weight_LDKH: jax.Array, bias_LKH: jax.Array) -> jax.Array:
    weight_LDKH = weight_LDKH.astype(jnp.float32) * gain_LD[..., None, None]
    deviation_LKH = jnp.sqrt(jnp.sum(jnp.square(weight_LDKH), axis=1))
    return jnp.abs(bias_LKH.astype(jnp.float32)) + _ROOM[dtype] * deviation_LKH

  weights = layers["attention"]
  k_LKH = reach(weights["k_DKH"], weights["k_bias_KH"])
  k_LK2 = jnp.linalg.norm(k_LKH.reshape(*k_LKH.shape[:2], 2, -1), axis=2)
  k_LKH = jnp.concatenate((k_LK2, k_LK2), axis=-1)
  v_LKH = reach(weights["v_DKH"], weights["v_bias_KH"])
  scale_LCH = interleave(k_LKH, v_LKH) / _LARGEST[dtype]
  return jnp.maximum(scale_LCH, jnp.finfo(jnp.float32).tiny)


def interleave(k_TKH: jax.Array, v_TKH: jax.Array) -> jax.Array:
  """[…, C, H]: key and value of each head side by side."""
  pairs = jnp.stack((k_TKH, v_TKH), axis=-2)
  return pairs.reshape(*k_TKH.shape[:-2], -1, k_TKH.shape[-1])


def narrow(
  new_TCH: jax.Array, scale_CH: jax.Array, dtype: jnp.dtype
) -> jax.Array:
  largest = _LARGEST[dtype.name]
  scaled_TCH = new_TCH.astype(jnp.float32) / scale_CH[None]
  scaled_TCH = jnp.clip(scaled_TCH, -largest, largest)
  return jnp.round(scaled_TCH) if dtype == jnp.int8 else scaled_TCH


def scale_heads(x_TNH: jax.Array, scale_KH: jax.Array) -> jax.Array:
  """Query heads by the scale of the kv head that they read."""
  scale_NH = jnp.repeat(scale_KH, x_TNH.shape[1] // len(scale_KH), axis=0)
  return (x_TNH.astype(jnp.float32) * scale_NH[None]).astype(x_TNH.dtype)
