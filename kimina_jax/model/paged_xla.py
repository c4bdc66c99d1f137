"""Paged attention without a kernel: gather some pages, look, add up.

In: queries of lanes and chunks as paged.py lays them out. Out: the attended
values. Work follows the pages that are in use, whatever the lengths of the
sequences and however large the tables. Never stores a key.

What each page gives is added to its queries by the online softmax (Milakov &
Gimelshein 2018, arXiv 1805.02867, Alg. 3).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Below every score, and finite, since −∞ − −∞ is not a number.
_LOWEST = -1e30
# That read a page together; more of them read it again.
_LANES_PER_PAGE = 8


class Line(NamedTuple):
  """Pages in use, one after the other, each with M of the lanes that want it.

  So a long sequence costs its neighbours nothing. W of them are looked at
  together, `num_looks` times. It depends on no layer.
  """

  num_looks: jax.Array
  page_XW: jax.Array
  lane_XWM: jax.Array  # Q is nobody
  last_XWM: jax.Array  # position in the page that the lane sees last


def stand_in_lines(
  lanes_QJ: jax.Array,
  positions_Q: jax.Array,
  *,
  page_size: int,
  pages_at_once: int,
) -> tuple[Line, Line]:
  """A line of the pages that one lane wants, and one of those that several do.

  Rollouts of a prompt share its pages, all rollouts those of the system
  prompt: each is read once for so many of them (Juravsky et al. 2024, arXiv
  2402.05099, Sec. 3.2). Q and R count the same lanes.

  Args:
    lanes_QJ: int32, pages of a lane's sequence.
    positions_Q: int32, of the lanes' queries; -1 is an idle lane.
    page_size: S.
    pages_at_once: W.
  """
  Q, J = lanes_QJ.shape
  width = max(1, min(pages_at_once, Q * J))
  last_QJ = positions_Q[:, None] - page_size * jnp.arange(J)[None]
  nobodys_Q1 = -1 - jnp.arange(Q)[:, None]
  page_QJ = jnp.where(last_QJ < 0, nobodys_Q1, lanes_QJ)
  same_QRJ = page_QJ[:, None] == page_QJ[None]
  earlier_QR1 = (jnp.arange(Q)[None] < jnp.arange(Q)[:, None])[..., None]
  rank_QJ = jnp.sum(same_QRJ & earlier_QR1, axis=1)
  is_alone_QJ = jnp.sum(same_QRJ, axis=1) == 1

  def line(is_here_QJ: jax.Array, per_page: int) -> Line:
    """The first of every `per_page` that share a page brings it here."""
    size = min(per_page, 2)  # of the smallest group
    num_entries = -(-Q * J // size // width) * width
    place_QJ = rank_QJ % per_page
    is_first_QJ = is_here_QJ & (place_QJ == 0)
    number_QJ = jnp.cumsum(is_first_QJ).reshape(Q, J) - 1
    if per_page > 1:
      leads_QRJ = same_QRJ & (rank_QJ[None] == (rank_QJ - place_QJ)[:, None])
      number_QJ = jnp.sum(jnp.where(leads_QRJ, number_QJ[None], 0), axis=1)
    number_QJ = jnp.where(is_here_QJ, number_QJ, num_entries)

    def fill(empty: int, values_QJ: jax.Array) -> jax.Array:
      entries_XM = jnp.full((num_entries, per_page), empty, jnp.int32)
      entries_XM = entries_XM.at[number_QJ, place_QJ].set(
        values_QJ, mode="drop"
      )
      return entries_XM.reshape(-1, width, per_page)

    return Line(
      (jnp.sum(is_first_QJ) + width - 1) // width,
      fill(0, lanes_QJ)[..., 0],
      fill(Q, jnp.broadcast_to(jnp.arange(Q)[:, None], (Q, J))),
      fill(-1, last_QJ),
    )

  is_used_QJ = last_QJ >= 0
  return (
    line(is_used_QJ & is_alone_QJ, 1),
    line(is_used_QJ & ~is_alone_QJ, _LANES_PER_PAGE),
  )


def attend(
  q_TNH: jax.Array,
  kv_PSCH: jax.Array,
  *,
  lines: tuple[Line, Line],
  chunks_QJ: jax.Array,
  chunk_positions_QS: jax.Array,
  first: jax.Array,
) -> jax.Array:
  """softmax(q·k / √H) v over what each query's sequence has up to it.

  Args:
    q_TNH: one query of each lane, then S queries of each chunk.
    kv_PSCH: the pool; C is key and value of head 0, of head 1, …
    lines: what the lanes see, see `stand_in_lines`.
    chunks_QJ: int32, pages of a chunk's sequence.
    chunk_positions_QS: int32, of the chunks' queries; -1 is none.
    first: int32 [], entry of the pool that is page 0 of this layer.
  """
  T, N, H = q_TNH.shape
  K = kv_PSCH.shape[2] // 2
  q_TKGH = (q_TNH * H**-0.5).reshape(T, K, N // K, H)
  num_lanes = T - chunk_positions_QS.size
  outs = []
  if num_lanes:
    outs.append(_attend_lanes(q_TKGH[:num_lanes], kv_PSCH, lines, first))
  if len(chunks_QJ):
    chunks = (first + chunks_QJ, chunk_positions_QS)
    outs.append(_attend_chunks(q_TKGH[num_lanes:], kv_PSCH, *chunks))
  return jnp.concatenate(outs).reshape(T, N, H).astype(q_TNH.dtype)


def _attend_lanes(
  q_QKGH: jax.Array,
  kv_PSCH: jax.Array,
  lines: tuple[Line, Line],
  first: jax.Array,
) -> jax.Array:
  """Looks at the pages that are in use, and at no other, some at a time."""
  S = kv_PSCH.shape[1]

  def look(line: Line, index: jax.Array, sums: _Sums) -> _Sums:
    lane_WM = line.lane_XWM[index]
    q_WMKGH = q_QKGH.at[lane_WM].get(mode="fill", fill_value=0)
    visible_WMS = jnp.arange(S)[None, None] <= line.last_XWM[index][..., None]
    kv_WSCH = kv_PSCH[first + line.page_XW[index]]
    found_WM = _look(q_WMKGH, kv_WSCH, visible_WMS)
    return _merge_at(sums, found_WM, lane_WM)

  def look_along(line: Line, sums: _Sums) -> _Sums:
    run = functools.partial(look, line)
    return jax.lax.fori_loop(0, line.num_looks, run, sums)

  alone, shared = lines
  sums = look_along(alone, _no_sums(q_QKGH.shape))
  # A loop inside a loop that runs once or never: who counts what a program
  # does (scaling/) can tell it from the other.
  is_any = jnp.minimum(shared.num_looks, 1)
  sums = jax.lax.fori_loop(
    0, is_any, lambda _, sums: look_along(shared, sums), sums
  )
  return _mean(sums)


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
    return _merge(sums, _look(q_QSKGH, kv_QSCH, visible_QTS))

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
  q_WMKGH: jax.Array, kv_WSCH: jax.Array, visible_WMS: jax.Array
) -> _Sums:
  """M queries look at one page.

  X is M and G in one: a product of more rows, and one that XLA turns round
  in no other way than this.
  """
  W, M, K, G, H = q_WMKGH.shape
  q_WKXH = q_WMKGH.swapaxes(1, 2).reshape(W, K, M * G, H)
  kv_WSCH = kv_WSCH.astype(q_WKXH.dtype)
  k_WSKH, v_WSKH = kv_WSCH[:, :, 0::2], kv_WSCH[:, :, 1::2]
  score_WKXS = jnp.einsum(
    "WKXH,WSKH->WKXS", q_WKXH, k_WSKH, preferred_element_type=jnp.float32
  )
  visible_W1XS = jnp.repeat(visible_WMS, G, axis=1)[:, None]
  score_WKXS = jnp.where(visible_W1XS, score_WKXS, _LOWEST)
  highest_WKX = jnp.max(score_WKXS, axis=-1)
  share_WKXS = jnp.exp(score_WKXS - highest_WKX[..., None])
  # Where nothing is visible all shares are one, and none counts.
  share_WKXS = jnp.where(visible_W1XS, share_WKXS, 0)
  value_WKXH = jnp.einsum(
    "WKXS,WSKH->WKXH",
    share_WKXS.astype(v_WSKH.dtype),
    v_WSKH,
    preferred_element_type=jnp.float32,
  )
  found = _Sums(highest_WKX, jnp.sum(share_WKXS, axis=-1), value_WKXH)
  return jax.tree.map(
    lambda x: x.reshape(W, K, M, G, *x.shape[3:]).swapaxes(1, 2), found
  )


def _merge(sums: _Sums, found: _Sums) -> _Sums:
  highest = jnp.maximum(sums.highest, found.highest)
  old, new = jnp.exp(sums.highest - highest), jnp.exp(found.highest - highest)
  return _Sums(
    highest,
    sums.weight * old + found.weight * new,
    sums.value * old[..., None] + found.value * new[..., None],
  )


def _merge_at(sums_Q: _Sums, found_WM: _Sums, lane_WM: jax.Array) -> _Sums:
  """As `_merge`, where several of what was found belong to one lane."""
  highest = sums_Q.highest.at[lane_WM].max(found_WM.highest, mode="drop")
  old = jnp.exp(sums_Q.highest - highest)
  new = jnp.exp(found_WM.highest - highest[lane_WM])
  return _Sums(
    highest,
    (sums_Q.weight * old).at[lane_WM].add(found_WM.weight * new, mode="drop"),
    (sums_Q.value * old[..., None])
    .at[lane_WM]
    .add(found_WM.value * new[..., None], mode="drop"),
  )


def _mean(sums: _Sums) -> jax.Array:
  """Zero where nothing was visible."""
  weight = jnp.where(sums.weight == 0, 1, sums.weight)
  return sums.value / weight[..., None]
