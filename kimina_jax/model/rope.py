"""Rotary position embeddings (RoPE), also scaled beyond the trained length.

In: positions, queries and keys. Out: cosines and sines of the angles, and the
rotated vectors; all arithmetic is float32.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from kimina_jax.model.config import ModelConfig, RopeScaling


def rotary_angles(
  config: ModelConfig, positions_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """float32 cosines and sines [B, T, H/2] of RoPE (Su et al. 2021, Eq. 34).

  Under YaRN both are multiplied by the attention factor, and so scores by its
  square (Peng et al. 2023, arXiv 2309.00071, Eq. 15).
  """
  frequency = jnp.asarray(_frequencies(config), jnp.float32)
  angle = positions_BT.astype(jnp.float32)[..., None] * frequency[None, None]
  scale = _attention_factor(config.rope_scaling)
  return jnp.cos(angle) * scale, jnp.sin(angle) * scale


def rotate(x_BTNH: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the pairs (h, h + H/2) of each head, in float32."""
  cos, sin = (angle[:, :, None, :] for angle in angles)
  x1, x2 = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate((x1 * cos - x2 * sin, x2 * cos + x1 * sin), axis=-1)
  return rotated.astype(x_BTNH.dtype)


def _frequencies(config: ModelConfig) -> np.ndarray:
  """Radians per position [H/2]; float64, as long rows multiply the error."""
  halves = np.arange(0, config.head_dim, 2) / config.head_dim
  plain = config.rope_theta**-halves
  scaling = config.rope_scaling
  if scaling is None:
    return plain
  if scaling.kind == "linear":
    return plain / scaling.factor
  kept = _unscaled_share(scaling, config.head_dim, config.rope_theta)
  return plain * kept + plain / scaling.factor * (1 - kept)


def _unscaled_share(
  scaling: RopeScaling, head_dim: int, theta: float
) -> np.ndarray:
  """YaRN's weight of each frequency's unscaled value [H/2] (Eq. 22 and 23).

  1 for frequencies of at least beta_fast rotations within the positions
  trained for, 0 for those of at most beta_slow rotations, a ramp between.
  """

  def index_of(rotations: float) -> float:
    """The index h whose frequency makes that many rotations."""
    length = scaling.original_max_position / (2 * math.pi * rotations)
    return head_dim * math.log(length) / (2 * math.log(theta))

  low, high = index_of(scaling.beta_fast), index_of(scaling.beta_slow)
  if scaling.truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, head_dim - 1)
  if low == high:
    high += 1e-3
  ramp = (np.arange(head_dim // 2) - low) / (high - low)
  return 1 - np.clip(ramp, 0, 1)


def _attention_factor(scaling: RopeScaling | None) -> float:
  """YaRN's attention factor (mscale), which multiplies cosines and sines."""
  if scaling is None or scaling.kind == "linear":
    return 1.0
  if scaling.attention_factor is not None:
    return scaling.attention_factor

  def factor(mscale: float) -> float:
    return 0.1 * mscale * math.log(scaling.factor) + 1.0

  if scaling.mscale and scaling.mscale_all_dim:
    return factor(scaling.mscale) / factor(scaling.mscale_all_dim)
  return factor(1.0)
