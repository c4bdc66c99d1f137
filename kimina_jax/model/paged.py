"""Paged attention: attention to a KV cache in pages, of any sequences.

In: rotated queries, keys and values of new tokens, and the block tables of
their sequences. Out: the attended values, and the cache with the new keys and
values. It never allocates a page, and never copies a layer of the cache.

A row of a forward pass holds the tokens of one replica: one token of each
decode slot, then the tokens of one page of each prefill chunk. Several chunks
may belong to one prompt, since new keys and values are stored before anything
attends. All layers share one pool of pages, so that a layer is not a slice of
an array.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from kimina_jax.infra.mesh import ACTIVATIONS, Table, spec
from kimina_jax.model import paged_xla, ragged_kernel
from kimina_jax.model.attention import mesh_platform, warn_once
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.kv_quantization import (
  cache_dtype,
  interleave,
  quantize,
  scale_heads,
)

# `jax.named_scope` of the loop that copies pages, whose number of iterations is
# not static, see scale/.
PAGE_COPIES = "page_copies"

# Pages that attention without a kernel reads at a time: as many as stay in the
# cache of a CPU; other devices need more work at a time.
_PAGES_AT_ONCE = {"cpu": 32}
_MANY_PAGES = 1024


class PagedCache(NamedTuple):
  """Keys and values of all layers, in pages of O positions.

  Page p of layer l of a replica with P pages per layer is page l P + p of the
  replica's part of the pool.

  Attributes:
    kv_POYH: key and value of head 0, then those of head 1, …
    scale_LYH: float32, divisors of keys and values in a quantized dtype; None
      in the others.
  """

  kv_POYH: Any
  scale_LYH: Any = None


class BlockTables(NamedTuple):
  """Pages of the sequences to which the tokens of a replica belong.

  A row of tokens has B + C × O: those of the slots, then those of the chunks.

  Attributes:
    slots_RBJ: int32, page j of the sequence in each slot.
    chunks_RCJ: int32, page j of the sequence of each chunk.
  """

  slots_RBJ: jax.Array
  chunks_RCJ: jax.Array


class AttentionMetadata(NamedTuple):
  """Cache pages of the tokens and the positions they attend to, in any layer.

  Arrays have a leading dim R outside of `shard_map`.

  Attributes:
    slot_tables: int32 [B, J], pages of the sequences in the slots.
    chunk_tables: int32 [C, J], pages of the sequences of the chunks.
    slot_positions: int32 [B], of the token of each slot; -1 in an idle slot.
    chunk_positions: int32 [C, O], of the tokens of each chunk.
    page: int32 [T], where each token is stored; -1 is nowhere.
    offset: int32 [T], position in that page.
    page_readers: pages of the slots grouped for attention without a kernel;
      where a kernel attends they are unused, and never computed.
  """

  slot_tables: jax.Array
  chunk_tables: jax.Array
  slot_positions: jax.Array
  chunk_positions: jax.Array
  page: jax.Array
  offset: jax.Array
  page_readers: tuple[paged_xla.PageReaders, paged_xla.PageReaders]


def init_pages(
  config: ModelConfig,
  *,
  num_pages: int,
  page_size: int,
  dtype: str,
  scale_LYH: jax.Array | None = None,
) -> PagedCache:
  """A pool of zeros.

  Args:
    config: of the model.
    num_pages: of all replicas, per layer.
    page_size: positions of a page.
    dtype: of kv_quantization.CACHE_DTYPES; "auto" is that of the activations.
    scale_LYH: see kv_quantization.py.
  """
  shape = (
    config.num_layers * num_pages,
    page_size,
    2 * config.num_kv_heads,
    config.head_dim,
  )
  zeros = jnp.zeros(shape, cache_dtype(config, dtype))
  return PagedCache(zeros, scale_LYH)


def copy_pages(
  cache: PagedCache,
  copies_RQ2: jax.Array,
  num_copies_R: jax.Array,
  *,
  config: ModelConfig,
) -> PagedCache:
  """Copies pages onto others, in all layers, one after the other.

  Args:
    cache: donate it under jit and it is updated in place.
    copies_RQ2: int32, source and target pages of each replica.
    num_copies_R: int32, how many of them count.
    config: of the model.
  """
  table = ACTIVATIONS["decode"]
  pool, by_replica = spec("POYH", table), spec("R", table)

  @functools.partial(
    jax.shard_map,
    in_specs=(pool, by_replica, by_replica),
    out_specs=pool,
    check_vma=False,
  )
  def run(
    kv_POYH: jax.Array, copies_RQ2: jax.Array, num_copies_R: jax.Array
  ) -> jax.Array:
    def copy(index: jax.Array, kv_LPOYH: jax.Array) -> jax.Array:
      source, target = copies_RQ2[0, index]
      page = jax.lax.dynamic_slice_in_dim(kv_LPOYH, source, 1, axis=1)
      return jax.lax.dynamic_update_slice_in_dim(kv_LPOYH, page, target, axis=1)

    kv_LPOYH = kv_POYH.reshape(config.num_layers, -1, *kv_POYH.shape[1:])
    with jax.named_scope(PAGE_COPIES):
      kv_LPOYH = jax.lax.fori_loop(0, num_copies_R[0], copy, kv_LPOYH)
    return kv_LPOYH.reshape(kv_POYH.shape)

  return cache._replace(kv_POYH=run(cache.kv_POYH, copies_RQ2, num_copies_R))


def pages_at_once() -> int:
  """Number of pages that attention without a kernel reads at a time."""
  return _PAGES_AT_ONCE.get(mesh_platform(), _MANY_PAGES)


def make_metadata(
  block_tables: BlockTables,
  positions_RT: jax.Array,
  *,
  cache: PagedCache,
  table: Table,
) -> AttentionMetadata:
  """The metadata that all layers of a forward pass share.

  Call it with a mesh set.

  Args:
    block_tables: pages of the sequences.
    positions_RT: int32, -1 where there is no token.
    cache: to which the pages belong.
    table: of the activations.
  """
  by_replica = spec("R", table)
  run = jax.shard_map(
    functools.partial(_local_metadata, cache.kv_POYH.shape[1]),
    in_specs=(by_replica, by_replica),
    out_specs=by_replica,
    check_vma=False,
  )
  return run(block_tables, positions_RT)


def _local_metadata(
  page_size: int, block_tables: BlockTables, positions_RT: jax.Array
) -> AttentionMetadata:
  """Metadata of the one replica that a device holds (R = 1)."""
  if len(positions_RT) != 1:
    raise ValueError(
      f"{len(positions_RT)} rows; a device holds one for each replica"
    )
  slots_BJ = block_tables.slots_RBJ[0]
  chunks_CJ = block_tables.chunks_RCJ[0]
  positions_T = positions_RT[0]
  num_slots = len(slots_BJ)
  # The tables of slots and chunks one below the other, and the row in them of
  # the sequence of each token.
  row_T = jnp.concatenate(
    (
      jnp.arange(num_slots),
      num_slots + jnp.repeat(jnp.arange(len(chunks_CJ)), page_size),
    )
  )
  tables_BJ = jnp.concatenate((slots_BJ, chunks_CJ))
  page_T = tables_BJ[row_T, jnp.maximum(positions_T, 0) // page_size]
  slot_positions_B = positions_T[:num_slots]
  metadata = AttentionMetadata(
    slot_tables=slots_BJ,
    chunk_tables=chunks_CJ,
    slot_positions=slot_positions_B,
    chunk_positions=positions_T[num_slots:].reshape(-1, page_size),
    page=jnp.where(positions_T < 0, -1, page_T),
    offset=positions_T % page_size,
    page_readers=paged_xla.group_pages(
      slots_BJ,
      slot_positions_B,
      page_size=page_size,
      pages_at_once=pages_at_once(),
    ),
  )
  return jax.tree.map(lambda x: x[None], metadata)


def attend_paged(
  q_RTNH: jax.Array,
  k_RTKH: jax.Array,
  v_RTKH: jax.Array,
  cache: PagedCache,
  *,
  layer: jax.Array,
  metadata: AttentionMetadata,
  config: ModelConfig,
  table: Table,
) -> tuple[jax.Array, PagedCache]:
  """Stores the new keys and values, then attends.

  A token attends to the positions of its sequence up to its own. Call it with a
  mesh set; a device, or a group of devices over `tensor`, holds one replica.
  Where there is no token nothing is stored, and the output is arbitrary.

  Args:
    q_RTNH: queries.
    k_RTKH: keys.
    v_RTKH: values.
    cache: donate it under jit and it is updated in place.
    layer: int32 [], the layer whose part of the cache it is.
    metadata: of `make_metadata`.
    config: of the model; `attention` names the kernel, and "auto" takes
      ragged paged attention on TPU where the kernel supports the shapes.
    table: of the activations.
  """
  pool, by_replica = spec("POYH", table), spec("R", table)
  q_spec, kv_spec = spec("RTNH", table), spec("RTKH", table)
  scale_YH = None if cache.scale_LYH is None else cache.scale_LYH[layer]

  run = jax.shard_map(
    functools.partial(_attend_local, config),
    in_specs=(
      q_spec,
      kv_spec,
      kv_spec,
      pool,
      spec("YH", table),
      PartitionSpec(),
      by_replica,
    ),
    out_specs=(q_spec, pool),
    check_vma=False,
  )
  out_RTNH, kv_POYH = run(
    q_RTNH, k_RTKH, v_RTKH, cache.kv_POYH, scale_YH, layer, metadata
  )
  return out_RTNH, cache._replace(kv_POYH=kv_POYH)


def _attend_local(
  config: ModelConfig,
  q_RTNH: jax.Array,
  k_RTKH: jax.Array,
  v_RTKH: jax.Array,
  kv_POYH: jax.Array,
  scale_YH: jax.Array | None,
  layer: jax.Array,
  metadata: AttentionMetadata,
) -> tuple[jax.Array, jax.Array]:
  """Attention on one device: one replica (R = 1) and the device's heads."""
  first_page = layer * (kv_POYH.shape[0] // config.num_layers)
  metadata = jax.tree.map(lambda x: x[0], metadata)
  new_TYH = interleave(k_RTKH[0], v_RTKH[0])
  q_TNH = q_RTNH[0]
  if scale_YH is not None:
    new_TYH = quantize(new_TYH, scale_YH, kv_POYH.dtype)
    q_TNH = scale_heads(q_TNH, scale_YH[0::2])
  kv_POYH = _store(kv_POYH, new_TYH, first_page, metadata)
  attend = _choose_kernel(config.attention, q_TNH, kv_POYH)
  out_TNH = attend(q_TNH, kv_POYH, first_page, metadata)
  if scale_YH is not None:
    out_TNH = scale_heads(out_TNH, scale_YH[1::2])
  return out_TNH[None], kv_POYH


def _store(
  kv_POYH: jax.Array,
  new_TYH: jax.Array,
  first_page: jax.Array,
  metadata: AttentionMetadata,
) -> jax.Array:
  """Writes new keys and values to their pages."""
  beyond = jnp.iinfo(jnp.int32).max
  page_T = metadata.page
  page_T = jnp.where(page_T < 0, beyond, first_page + page_T)
  at = kv_POYH.at[page_T, metadata.offset]
  return at.set(new_TYH.astype(kv_POYH.dtype), mode="drop")


def _choose_kernel(
  name: str, q_TNH: jax.Array, kv_POYH: jax.Array
) -> Callable[..., jax.Array]:
  """The attention function for the arrays of one device."""
  on_tpu = mesh_platform() == "tpu"
  if name in ("auto", "splash") and on_tpu:
    reason = ragged_kernel.unsupported_reason(q_TNH, kv_POYH)
    if not reason:
      return _attend_tpu
    warn_once(f"paged attention is plain XLA instead of a kernel: {reason}")
  return _attend_xla


def _attend_xla(
  q_TNH: jax.Array,
  kv_POYH: jax.Array,
  first_page: jax.Array,
  metadata: AttentionMetadata,
) -> jax.Array:
  return paged_xla.attend_pages(
    q_TNH,
    kv_POYH,
    page_readers=metadata.page_readers,
    chunks_CJ=metadata.chunk_tables,
    chunk_positions_CO=metadata.chunk_positions,
    first_page=first_page,
  )


def _attend_tpu(
  q_TNH: jax.Array,
  kv_POYH: jax.Array,
  first_page: jax.Array,
  metadata: AttentionMetadata,
) -> jax.Array:
  return ragged_kernel.attend_ragged(
    q_TNH,
    kv_POYH,
    slots_BJ=first_page + metadata.slot_tables,
    chunks_CJ=first_page + metadata.chunk_tables,
    slot_positions_B=metadata.slot_positions,
    chunk_positions_C=metadata.chunk_positions[..., 0],
  )
