"""Ragged paged attention on TPU: a Pallas kernel of jax.experimental.

In: queries of slots and chunks in the order of paged.py. Out: the attended
values; also whether the kernel supports the shapes, and the cost of a call. It
never stores a key.

Slots and chunks are separate calls: if a block of queries has only one query
of a sequence, the kernel still multiplies the whole block by its keys.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernels

# Name of the kernel in compiled programs and jaxprs.
NAME = "ragged_paged_attention"
# Positions of a block of keys, and queries of a block: of slots, which have one
# query each, and of chunks, at most.
_BLOCK_KV = 1024
_BLOCK_SLOTS, _BLOCK_CHUNKS = 8, 128
# Columns of a register, to which a row of page numbers is padded.
_COLUMNS = 128
# Page numbers of a call. They are in scalar memory, 1 MiB for all of a call.
_MAX_PAGES = 2**17
_VMEM_BYTES = 64 * 2**20


class KernelCost(NamedTuple):
  """Cost of a kernel call that does not follow from its operands' shapes.

  Attributes:
    flops: floating-point operations executed.
    num_bytes: bytes read from the page pool.
  """

  flops: float
  num_bytes: int


def unsupported_reason(q_TNH: jax.Array, kv_POYH: jax.Array) -> str:
  """The reason why the kernel cannot take these arrays; empty if it can."""
  Y, H = kv_POYH.shape[2:]
  packing = 4 // kv_POYH.dtype.itemsize
  if H % _COLUMNS:
    return f"head_dim {H} is no multiple of {_COLUMNS}"
  if Y % packing:
    return (
      f"{Y // 2} kv heads on a device do not fill a word of"
      f" {kv_POYH.dtype.name}"
    )
  if q_TNH.dtype != jnp.bfloat16:
    return f"queries are {q_TNH.dtype.name}, not bfloat16"
  return ""


def attend_ragged(
  q_TNH: jax.Array,
  kv_POYH: jax.Array,
  *,
  slots_BJ: jax.Array,
  chunks_CJ: jax.Array,
  slot_positions_B: jax.Array,
  chunk_positions_C: jax.Array,
) -> jax.Array:
  """softmax(q·k / √H) v over the positions of each query's sequence up to it.

  Args:
    q_TNH: one query of each slot, then O queries of each chunk.
    kv_POYH: the pool: key and value of head 0, of head 1, …
    slots_BJ: int32, pages of the pool that hold the sequence in each slot.
    chunks_CJ: int32, pages of the pool that hold the sequence of each chunk.
    slot_positions_B: int32, of the slots' queries; -1 in an idle slot.
    chunk_positions_C: int32, of the chunks' first queries.
  """
  num_slots, page_size = len(slots_BJ), kv_POYH.shape[1]
  lens_B = jnp.maximum(slot_positions_B, 0) + 1
  outs = _attend_all(q_TNH[:num_slots], kv_POYH, slots_BJ, lens_B)
  if len(chunks_CJ):
    lens_C = jnp.maximum(chunk_positions_C, 0) + page_size
    outs += _attend_all(q_TNH[num_slots:], kv_POYH, chunks_CJ, lens_C)
  return jnp.concatenate(outs)


def kernel_cost(
  *,
  num_sequences: int,
  num_queries: int,
  num_keys: float,
  num_heads: int,
  key_bytes: int,
  head_dim: int,
) -> KernelCost:
  """Cost of a call, which computes whole blocks of queries.

  Args:
    num_sequences: of the call.
    num_queries: of each sequence.
    num_keys: of each sequence, on average.
    num_heads: N.
    key_bytes: of the key and the value of one position, all heads.
    head_dim: H.
  """
  block = _block_q(num_queries)
  # Keys that are read: those of its sequence for each block of queries.
  visited = num_sequences * -(-num_queries // block) * num_keys
  return KernelCost(
    flops=4.0 * visited * block * num_heads * head_dim,
    num_bytes=int(visited * key_bytes),
  )


def _block_q(num_queries: int) -> int:
  return _BLOCK_SLOTS if num_queries == 1 else min(num_queries, _BLOCK_CHUNKS)


def _attend_all(
  q_TNH: jax.Array, kv_POYH: jax.Array, pages_BJ: jax.Array, lens_B: jax.Array
) -> list[jax.Array]:
  """Attends sequences with equally many queries, split into several calls.

  A call has at most _MAX_PAGES page numbers.
  """
  B, J = pages_BJ.shape
  num_queries = len(q_TNH) // B
  width = -(-J // _COLUMNS) * _COLUMNS
  size = max(1, _MAX_PAGES // width)
  return [
    _call(
      q_TNH[first * num_queries : (first + size) * num_queries],
      kv_POYH,
      pages_BJ[first : first + size],
      lens_B[first : first + size],
    )
    for first in range(0, B, size)
  ]


def _call(
  q_TNH: jax.Array, kv_POYH: jax.Array, pages_BJ: jax.Array, lens_B: jax.Array
) -> jax.Array:
  B, J = pages_BJ.shape
  num_queries = len(q_TNH) // B
  return kernels.ragged_paged_attention(
    q_TNH,
    kv_POYH,
    lens_B,
    pages_BJ,
    jnp.arange(B + 1, dtype=jnp.int32) * num_queries,
    jnp.array([B], jnp.int32),
    sm_scale=q_TNH.shape[-1] ** -0.5,
    num_kv_pages_per_block=min(max(1, _BLOCK_KV // kv_POYH.shape[1]), J),
    num_queries_per_block=min(_block_q(num_queries), len(q_TNH)),
    vmem_limit_bytes=_VMEM_BYTES,
  )
