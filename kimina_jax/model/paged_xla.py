"""Paged attention without a kernel, in plain XLA.

In: queries of slots and chunks in the order of paged.py, and block tables. Out:
the attended values. Pages are gathered a few at a time; the work is
proportional to the pages in use, whatever the lengths of the sequences and the
width of the tables. It never stores a key.

Each page gives its queries a partial softmax; the partial results are combined
by the online softmax (Milakov & Gimelshein 2018, arXiv 1805.02867, Alg. 3).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

# `jax.named_scope` of the loops over pages. Their numbers of iterations depend
# on the sequences, so that scale/ has to state them by these names.
PRIVATE_PAGES = "private_pages"
SHARED_PAGES = "shared_pages"
CHUNK_PAGES = "chunk_pages"

# Below every score, and finite, since −∞ − −∞ is not a number.
_LOWEST = -1e30
# Slots that read a shared page together; with more of them it is read again.
_SLOTS_PER_PAGE = 8


class PageReaders(NamedTuple):
  """Pages in use, and the slots that read each of them.

  The pages of all slots are one list, so that a long sequence does not slow
  down the others. It is cut into Z batches of P pages, each of which is read
  by up to B slots. The lists are the same in all layers.

  Attributes:
    num_batches: int32 [], how many of the Z batches hold pages.
    page: int32 [Z, P].
    slot: int32 [Z, P, B], the number of slots where a page has fewer readers.
    last_position: int32 [Z, P, B], last position in the page that the slot
      sees.
  """

  num_batches: jax.Array
  page: jax.Array
  slot: jax.Array
  last_position: jax.Array


def group_pages(
  tables_BJ: jax.Array,
  positions_B: jax.Array,
  *,
  page_size: int,
  pages_at_once: int,
) -> tuple[PageReaders, PageReaders]:
  """Groups the pages in use by their readers: private pages and shared pages.

  A private page is read by one slot. A shared page is read by several, as the
  rollouts of a prompt share its pages, and all rollouts those of the system
  prompt: it is gathered once for up to _SLOTS_PER_PAGE slots (Juravsky et al.
  2024, arXiv 2402.05099, Sec. 3.2).

  Args:
    tables_BJ: int32, pages of each slot's sequence.
    positions_B: int32, of the slots' queries; -1 in an idle slot.
    page_size: positions of a page.
    pages_at_once: P, pages of a batch.
  """
  B, J = tables_BJ.shape
  batch_size = max(1, min(pages_at_once, B * J))
  last_BJ = positions_B[:, None] - page_size * jnp.arange(J)[None]
  # Entries beyond the sequence get page numbers that no other slot has.
  unused_B1 = -1 - jnp.arange(B)[:, None]
  page_BJ = jnp.where(last_BJ < 0, unused_B1, tables_BJ)
  is_same_BBJ = page_BJ[:, None] == page_BJ[None]
  is_earlier_BB1 = (jnp.arange(B)[None] < jnp.arange(B)[:, None])[..., None]
  # The number of a slot among those that read the page.
  rank_BJ = jnp.sum(is_same_BBJ & is_earlier_BB1, axis=1)
  is_private_BJ = jnp.sum(is_same_BBJ, axis=1) == 1

  def group(is_member_BJ: jax.Array, slots_per_page: int) -> PageReaders:
    """An entry for every `slots_per_page` slots that read the same page."""
    min_readers = min(slots_per_page, 2)
    num_entries = -(-B * J // min_readers // batch_size) * batch_size
    place_BJ = rank_BJ % slots_per_page
    is_first_BJ = is_member_BJ & (place_BJ == 0)
    entry_BJ = jnp.cumsum(is_first_BJ).reshape(B, J) - 1
    if slots_per_page > 1:
      # The other slots of an entry take its number from the first one.
      leads_BBJ = is_same_BBJ & (rank_BJ[None] == (rank_BJ - place_BJ)[:, None])
      entry_BJ = jnp.sum(jnp.where(leads_BBJ, entry_BJ[None], 0), axis=1)
    entry_BJ = jnp.where(is_member_BJ, entry_BJ, num_entries)

    def fill(empty: int, values_BJ: jax.Array) -> jax.Array:
      entries_PB = jnp.full((num_entries, slots_per_page), empty, jnp.int32)
      entries_PB = entries_PB.at[entry_BJ, place_BJ].set(values_BJ, mode="drop")
      return entries_PB.reshape(-1, batch_size, slots_per_page)

    return PageReaders(
      num_batches=(jnp.sum(is_first_BJ) + batch_size - 1) // batch_size,
      page=fill(0, tables_BJ)[..., 0],
      slot=fill(B, jnp.broadcast_to(jnp.arange(B)[:, None], (B, J))),
      last_position=fill(-1, last_BJ),
    )

  is_used_BJ = last_BJ >= 0
  return (
    group(is_used_BJ & is_private_BJ, 1),
    group(is_used_BJ & ~is_private_BJ, _SLOTS_PER_PAGE),
  )


def attend_pages(
  q_TNH: jax.Array,
  kv_POYH: jax.Array,
  *,
  page_readers: tuple[PageReaders, PageReaders],
  chunks_CJ: jax.Array,
  chunk_positions_CO: jax.Array,
  first_page: jax.Array,
) -> jax.Array:
  """softmax(q·k / √H) v over the positions of each query's sequence up to it.

  Args:
    q_TNH: one query of each slot, then O queries of each chunk.
    kv_POYH: the pool: key and value of head 0, of head 1, …
    page_readers: pages that the slots read, see `group_pages`.
    chunks_CJ: int32, pages of each chunk's sequence.
    chunk_positions_CO: int32, of the chunks' queries; -1 is none.
    first_page: int32 [], page of the pool that is page 0 of this layer.
  """
  T, N, H = q_TNH.shape
  K = kv_POYH.shape[2] // 2
  q_TKGH = (q_TNH * H**-0.5).reshape(T, K, N // K, H)
  num_slots = T - chunk_positions_CO.size
  outs = []
  if num_slots:
    outs.append(
      _attend_slots(q_TKGH[:num_slots], kv_POYH, page_readers, first_page)
    )
  if len(chunks_CJ):
    chunks_CJ = first_page + chunks_CJ
    outs.append(
      _attend_chunks(q_TKGH[num_slots:], kv_POYH, chunks_CJ, chunk_positions_CO)
    )
  return jnp.concatenate(outs).reshape(T, N, H).astype(q_TNH.dtype)


def _attend_slots(
  q_BKGH: jax.Array,
  kv_POYH: jax.Array,
  page_readers: tuple[PageReaders, PageReaders],
  first_page: jax.Array,
) -> jax.Array:
  """Attends to the pages in use, a batch at a time."""
  positions_O = jnp.arange(kv_POYH.shape[1])

  def attend_batch(
    readers: PageReaders, batch: jax.Array, sums: _SoftmaxSums
  ) -> _SoftmaxSums:
    slot_PB = readers.slot[batch]
    q_PBKGH = q_BKGH.at[slot_PB].get(mode="fill", fill_value=0)
    last_PB1 = readers.last_position[batch][..., None]
    visible_PBO = positions_O[None, None] <= last_PB1
    batch_POYH = kv_POYH[first_page + readers.page[batch]]
    partial = _attend_page(q_PBKGH, batch_POYH, visible_PBO)
    return _combine_at(sums, partial, slot_PB)

  sums = _zero_sums(q_BKGH.shape)
  scopes = (PRIVATE_PAGES, SHARED_PAGES)
  for scope, readers in zip(scopes, page_readers, strict=True):
    attend = functools.partial(attend_batch, readers)
    with jax.named_scope(scope):
      sums = jax.lax.fori_loop(0, readers.num_batches, attend, sums)
  return _normalize(sums)


def _attend_chunks(
  q_TKGH: jax.Array,
  kv_POYH: jax.Array,
  chunks_CJ: jax.Array,
  positions_CO: jax.Array,
) -> jax.Array:
  """Attends to the first page of all chunks, then to their second, …"""
  page_size = positions_CO.shape[1]
  q_CTKGH = q_TKGH.reshape(*positions_CO.shape, *q_TKGH.shape[1:])

  def attend_place(place: jax.Array, sums: _SoftmaxSums) -> _SoftmaxSums:
    key_O = place * page_size + jnp.arange(page_size)
    visible_CTO = key_O[None, None] <= positions_CO[..., None]
    pages_COYH = kv_POYH[chunks_CJ[:, place]]
    return _combine(sums, _attend_page(q_CTKGH, pages_COYH, visible_CTO))

  num_places = jnp.max(positions_CO) // page_size + 1
  with jax.named_scope(CHUNK_PAGES):
    sums = jax.lax.fori_loop(
      0, num_places, attend_place, _zero_sums(q_CTKGH.shape)
    )
  return _normalize(sums).reshape(q_TKGH.shape)


class _SoftmaxSums(NamedTuple):
  """Partial softmax of queries over some of their keys.

  Attributes:
    highest: float32 […, K, G], highest score.
    weight: float32 […, K, G], sum of exp(score − highest).
    value: float32 […, K, G, H], sum of values weighted by that.
  """

  highest: jax.Array
  weight: jax.Array
  value: jax.Array


def _zero_sums(shape: tuple[int, ...]) -> _SoftmaxSums:
  """The sums over no key, of queries of a shape […, K, G, H]."""
  zeros = jnp.zeros(shape[:-1], jnp.float32)
  return _SoftmaxSums(zeros + _LOWEST, zeros, jnp.zeros(shape, jnp.float32))


def _attend_page(
  q_PBKGH: jax.Array, kv_POYH: jax.Array, visible_PBO: jax.Array
) -> _SoftmaxSums:
  """Partial softmax of B queries over the keys of one page, for P pages.

  The queries of a page and the query heads of a kv head are merged into one
  dim: a larger matrix product, and one that XLA does not transpose.
  """
  P, B, K, G, H = q_PBKGH.shape
  # From here on G counts the query heads of all B queries.
  q_PKGH = q_PBKGH.swapaxes(1, 2).reshape(P, K, B * G, H)
  kv_POYH = kv_POYH.astype(q_PKGH.dtype)
  k_POKH, v_POKH = kv_POYH[:, :, 0::2], kv_POYH[:, :, 1::2]
  score_PKGO = jnp.einsum(
    "PKGH,POKH->PKGO", q_PKGH, k_POKH, preferred_element_type=jnp.float32
  )
  visible_P1GO = jnp.repeat(visible_PBO, G, axis=1)[:, None]
  score_PKGO = jnp.where(visible_P1GO, score_PKGO, _LOWEST)
  highest_PKG = jnp.max(score_PKGO, axis=-1)
  share_PKGO = jnp.exp(score_PKGO - highest_PKG[..., None])
  # Where nothing is visible all shares are one, and none counts.
  share_PKGO = jnp.where(visible_P1GO, share_PKGO, 0)
  value_PKGH = jnp.einsum(
    "PKGO,POKH->PKGH",
    share_PKGO.astype(v_POKH.dtype),
    v_POKH,
    preferred_element_type=jnp.float32,
  )
  sums = _SoftmaxSums(highest_PKG, jnp.sum(share_PKGO, axis=-1), value_PKGH)
  return jax.tree.map(
    lambda x: x.reshape(P, K, B, G, *x.shape[3:]).swapaxes(1, 2), sums
  )


def _combine(sums: _SoftmaxSums, partial: _SoftmaxSums) -> _SoftmaxSums:
  """The sums over the keys of both (online softmax)."""
  highest = jnp.maximum(sums.highest, partial.highest)
  old = jnp.exp(sums.highest - highest)
  new = jnp.exp(partial.highest - highest)
  return _SoftmaxSums(
    highest,
    sums.weight * old + partial.weight * new,
    sums.value * old[..., None] + partial.value * new[..., None],
  )


def _combine_at(
  sums: _SoftmaxSums, partial: _SoftmaxSums, slot_PB: jax.Array
) -> _SoftmaxSums:
  """As `_combine`, where several partial sums may belong to one slot.

  Args:
    sums: of each slot.
    partial: [P, B, …].
    slot_PB: the slot of each partial sum; beyond the last slot it is dropped.
  """
  highest = sums.highest.at[slot_PB].max(partial.highest, mode="drop")
  old = jnp.exp(sums.highest - highest)
  new = jnp.exp(partial.highest - highest[slot_PB])
  return _SoftmaxSums(
    highest,
    (sums.weight * old).at[slot_PB].add(partial.weight * new, mode="drop"),
    (sums.value * old[..., None])
    .at[slot_PB]
    .add(partial.value * new[..., None], mode="drop"),
  )


def _normalize(sums: _SoftmaxSums) -> jax.Array:
  """The attended values; zero where nothing was visible."""
  weight = jnp.where(sums.weight == 0, 1, sums.weight)
  return sums.value / weight[..., None]
