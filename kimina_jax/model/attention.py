"""Attention: the one place where a kernel is chosen.

In: rotated queries, keys, values and a mask by description, not by array, so
that a kernel may use its structure. Out: the attended values. Never repeats
keys over the query heads that share them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Packed(NamedTuple):
  """Queries and keys are the same tokens: query t attends the keys s ≤ t of
  its own segment.

  Segment 0 (padding) attends itself, which is finite and read by nobody.
  """

  segments_BT: jax.Array


class Cached(NamedTuple):
  """Keys lie in a cache by position: a query attends the keys s ≤ position."""

  positions_BT: jax.Array


Mask = Packed | Cached


def attend(
  q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, *, mask: Mask
) -> jax.Array:
  """softmax(q·k / √H) v over the keys that the mask shows [B, T, N, H].

  Query head n reads kv head n // G, with G = N / K (Ainslie et al. 2023).
  Scores and softmax are float32.
  """
  return _attend_xla(q_BTNH, k_BSKH, v_BSKH, _visible(mask, k_BSKH.shape[1]))


def _visible(mask: Mask, num_keys: int) -> jax.Array:
  """bool [B, T, S]."""
  keys = jnp.arange(num_keys)[None, None, :]
  if isinstance(mask, Cached):
    return keys <= mask.positions_BT[:, :, None]
  segments = mask.segments_BT
  causal = keys <= jnp.arange(segments.shape[1])[None, :, None]
  return causal & (segments[:, :, None] == segments[:, None, :])


def _attend_xla(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  visible_BTS: jax.Array,
) -> jax.Array:
  B, T, N, H = q_BTNH.shape
  K = k_BSKH.shape[2]
  q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
  score_BKGTS = jnp.einsum(
    "BTKGH,BSKH->BKGTS", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32
  )
  score_BKGTS = jnp.where(
    visible_BTS[:, None, None], score_BKGTS * H**-0.5, -jnp.inf
  )
  share_BKGTS = jax.nn.softmax(score_BKGTS, axis=-1).astype(v_BSKH.dtype)
  out_BTKGH = jnp.einsum("BKGTS,BSKH->BTKGH", share_BKGTS, v_BSKH)
  return out_BTKGH.reshape(B, T, N, H)
