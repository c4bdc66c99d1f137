"""Paged attention without a kernel: gather some pages, look, add up.

In: queries of lanes and chunks as paged.py lays them out. Out: the attended
values. Work follows the pages that are in use, whatever the lengths of the
sequences and however large the tables. Never stores a key.

What each page gives is added to its queries by the online softmax (Milakov &
Gimelshein 2018, arXiv 1805.02867, Alg. 3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Below every score, and finite, since −∞ − −∞ is not a number.
_LOWEST = -1e30


def attend(
  q_TNH: jax.Array,
  kv_PSCH: jax.Array,
  *,
  lanes_QJ: jax.Array,
  chunks_QJ: jax.Array,
  lane_positions_Q: jax.Array,
  chunk_positions_QS: jax.Array,
  first: jax.Array,
  pages_at_once: int,
) -> jax.Array:
  """softmax(q·k / √H) v over what each query's sequence has up to it.

  Args:
    q_TNH: one query of each lane, then S queries of each chunk.
    kv_PSCH: the pool; C is key and value of head 0, of head 1, …
    lanes_QJ: int32, pages of a lane's sequence.
    chunks_QJ: int32, the same for the chunks.
    lane_positions_Q: int32, of the lanes' queries; -1 is an idle lane.
    chunk_positions_QS: int32, of the chunks' queries; -1 is none.
    first: int32 [], entry of the pool that is page 0 of this layer.
    pages_at_once: how many pages of the lanes are gathered together.
  """
  num_lanes, num_chunks = len(lanes_QJ), len(chunks_QJ)
  T, N, H = q_TNH.shape
  K = kv_PSCH.shape[2] // 2
  q_TKGH = (q_TNH * H**-0.5).reshape(T, K, N // K, H)
  outs = []
  if num_lanes:
    line = _stand_in_line(lanes_QJ, lane_positions_Q, kv_PSCH, pages_at_once)
    outs.append(_attend_lanes(q_TKGH[:num_lanes], kv_PSCH, line, first))
  if num_chunks:
    chunks = (first + chunks_QJ, chunk_positions_QS)
    outs.append(_attend_chunks(q_TKGH[num_lanes:], kv_PSCH, *chunks))
  return jnp.concatenate(outs).reshape(T, N, H).astype(q_TNH.dtype)


class _Line(NamedTuple):
  """The pages of all lanes that are in use, one after the other.

  So a long sequence costs its neighbours nothing. W of them are looked at
  together, `num_looks` times. It depends on no layer.
  """

  num_looks: jax.Array
  lane_XW: jax.Array
  page_XW: jax.Array
  last_XW: jax.Array  # position in the page that is visible last; -1 for none


def _stand_in_line(
  lanes_QJ: jax.Array,
  positions_Q: jax.Array,
  kv_PSCH: jax.Array,
  pages_at_once: int,
) -> _Line:
  Q, S = len(lanes_QJ), kv_PSCH.shape[1]
  width = min(pages_at_once, lanes_QJ.size)
  num_entries = -(-lanes_QJ.size // width) * width
  ends_Q = jnp.cumsum((positions_Q + S) // S)
  entry_X = jnp.arange(num_entries)
  lane_X = jnp.sum(ends_Q[None] <= entry_X[:, None], axis=1)
  is_used_X = lane_X < Q
  lane_X = jnp.minimum(lane_X, Q - 1)
  starts_Q = jnp.concatenate((jnp.zeros(1, ends_Q.dtype), ends_Q[:-1]))
  place_X = jnp.where(is_used_X, entry_X - starts_Q[lane_X], 0)
  last_X = jnp.where(is_used_X, positions_Q[lane_X] - place_X * S, -1)
  pages_X = lanes_QJ[lane_X, place_X]
  parts = (x.reshape(-1, width) for x in (lane_X, pages_X, last_X))
  return _Line((ends_Q[-1] + width - 1) // width, *parts)


def _attend_lanes(
  q_QKGH: jax.Array, kv_PSCH: jax.Array, line: _Line, first: jax.Array
) -> jax.Array:
  """Looks at the pages that are in use, and at no other, some at a time."""
  S = kv_PSCH.shape[1]

  def look(index: jax.Array, sums: _Sums) -> _Sums:
    lane_W = line.lane_XW[index]
    kv_WSCH = kv_PSCH[first + line.page_XW[index]]
    visible_WS = jnp.arange(S)[None] <= line.last_XW[index][:, None]
    found = _look(q_QKGH[lane_W], kv_WSCH, visible_WS, queries="")
    return _merge_at(sums, found, lane_W)

  nothing = _no_sums(q_QKGH.shape)
  return _mean(jax.lax.fori_loop(0, line.num_looks, look, nothing))


def _attend_chunks(
  q_TKGH: jax.Array,
  kv_PSCH: jax.Array,
  chunks_QJ: jax.Array,
  positions_QS: jax.Array,
) -> jax.Array:
  """All chunks look at their first page, at their second, … together."""
  Q, S = positions_QS.shape
  q_QSKGH = q_TKGH.reshape(Q, S, *q_TKGH.shape[1:])

  def look(place: jax.Array, sums: _Sums) -> _Sums:
    key_S = place * S + jnp.arange(S)
    visible_QTS = key_S[None, None] <= positions_QS[..., None]
    kv_QSCH = kv_PSCH[chunks_QJ[:, place]]
    return _merge(sums, _look(q_QSKGH, kv_QSCH, visible_QTS, queries="T"))

  num_looks = jnp.max(positions_QS) // S + 1
  sums = jax.lax.fori_loop(0, num_looks, look, _no_sums(q_QSKGH.shape))
  return _mean(sums).reshape(q_TKGH.shape)


class _Sums(NamedTuple):
  """Of exponentials of scores above the highest one, and of values by them."""

  highest: jax.Array  # float32 […, K, G]
  weight: jax.Array  # float32 […, K, G]
  value: jax.Array  # float32 […, K, G, H]


def _no_sums(shape: tuple[int, ...]) -> _Sums:
  zeros = jnp.zeros(shape[:-1], jnp.float32)
  return _Sums(zeros + _LOWEST, zeros, jnp.zeros(shape, jnp.float32))


def _look(
  q_WKGH: jax.Array, kv_WSCH: jax.Array, visible_WS: jax.Array, *, queries: str
) -> _Sums:
  """One query looks at one page of its sequence; or T, if `queries` is "T"."""
  kv_WSCH = kv_WSCH.astype(q_WKGH.dtype)
  k_WSKH, v_WSKH = kv_WSCH[:, :, 0::2], kv_WSCH[:, :, 1::2]
  wide, narrow = f"W{queries}KGS", f"W{queries}KGH"
  score_WKGS = jnp.einsum(
    f"{narrow},WSKH->{wide}", q_WKGH, k_WSKH, preferred_element_type=jnp.float32
  )
  visible_WKGS = visible_WS[..., None, None, :]
  score_WKGS = jnp.where(visible_WKGS, score_WKGS, _LOWEST)
  highest_WKG = jnp.max(score_WKGS, axis=-1)
  share_WKGS = jnp.exp(score_WKGS - highest_WKG[..., None])
  # Where nothing is visible all shares are one, and none counts.
  share_WKGS = jnp.where(visible_WKGS, share_WKGS, 0)
  value_WKGH = jnp.einsum(
    f"{wide},WSKH->{narrow}",
    share_WKGS.astype(v_WSKH.dtype),
    v_WSKH,
    preferred_element_type=jnp.float32,
  )
  return _Sums(highest_WKG, jnp.sum(share_WKGS, axis=-1), value_WKGH)


def _merge(sums: _Sums, found: _Sums) -> _Sums:
  highest = jnp.maximum(sums.highest, found.highest)
  old, new = jnp.exp(sums.highest - highest), jnp.exp(found.highest - highest)
  return _Sums(
    highest,
    sums.weight * old + found.weight * new,
    sums.value * old[..., None] + found.value * new[..., None],
  )


def _merge_at(sums_Q: _Sums, found_W: _Sums, lane_W: jax.Array) -> _Sums:
  """As `_merge`, where several of what was found belong to one lane."""
  highest = sums_Q.highest.at[lane_W].max(found_W.highest)
  old, new = (
    jnp.exp(sums_Q.highest - highest),
    jnp.exp(found_W.highest - highest[lane_W]),
  )
  return _Sums(
    highest,
    (sums_Q.weight * old).at[lane_W].add(found_W.weight * new),
    (sums_Q.value * old[..., None])
    .at[lane_W]
    .add(found_W.value * new[..., None]),
  )


def _mean(sums: _Sums) -> jax.Array:
  """Zero where nothing was visible."""
  weight = jnp.where(sums.weight == 0, 1, sums.weight)
  return sums.value / weight[..., None]
