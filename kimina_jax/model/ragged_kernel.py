"""Ragged paged attention on TPU: a kernel of jax.experimental.

In: queries of lanes and chunks as paged.py lays them out. Out: the attended
values. Never stores a key. Adapts shapes, says when it cannot serve, and what
a call costs.

Lanes and chunks are calls of their own: whatever a block of queries has of a
sequence, the kernel multiplies the whole block by that sequence's keys.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernels

# How compiled programs and jaxprs call it.
NAME = "ragged_paged_attention"
# Positions of a block of keys, and queries of a block: of lanes, which have one
# query each, and of chunks, at most.
_BLOCK_KV = 1024
_BLOCK_LANES, _BLOCK_CHUNKS = 8, 128
# Columns of a register, to which a row of page numbers is filled up.
_COLUMNS = 128
# Page numbers of a call. They lie in scalar memory, 1 MiB for all of a call.
_MAX_PAGES = 2**17
_VMEM_BYTES = 64 * 2**20


class Work(NamedTuple):
  """What a call does, and its operands' shapes do not say.

  Attributes:
    flops: executed.
    num_bytes: read of the pool.
  """

  flops: float
  num_bytes: int


def fault(q_TNH: jax.Array, kv_PSCH: jax.Array) -> str:
  """Why the kernel cannot serve; empty if it can."""
  C, H = kv_PSCH.shape[2:]
  packing = 4 // kv_PSCH.dtype.itemsize
  if H % _COLUMNS:
    return f"head_dim {H} is no multiple of {_COLUMNS}"
  if C % packing:
    return (
      f"{C // 2} kv heads on a device do not fill a word of"
      f" {kv_PSCH.dtype.name}"
    )
  if q_TNH.dtype != jnp.bfloat16:
    return f"queries are {q_TNH.dtype.name}, not bfloat16"
  return ""


def attend(
  q_TNH: jax.Array,
  kv_PSCH: jax.Array,
  *,
  lanes_QJ: jax.Array,
  chunks_QJ: jax.Array,
  lane_positions_Q: jax.Array,
  chunk_positions_Q: jax.Array,
) -> jax.Array:
  """softmax(q·k / √H) v over what each query's sequence has up to it.

  Args:
    q_TNH: one query of each lane, then S queries of each chunk.
    kv_PSCH: the pool; C is key and value of head 0, of head 1, …
    lanes_QJ: int32, entries of the pool that hold a lane's sequence.
    chunks_QJ: int32, the same for the chunks.
    lane_positions_Q: int32, of the lanes' queries; -1 is an idle lane.
    chunk_positions_Q: int32, of the chunks' first queries.
  """
  num_lanes, page_size = len(lanes_QJ), kv_PSCH.shape[1]
  lens_Q = jnp.maximum(lane_positions_Q, 0) + 1
  outs = _attend_all(q_TNH[:num_lanes], kv_PSCH, lanes_QJ, lens_Q)
  if len(chunks_QJ):
    lens_Q = jnp.maximum(chunk_positions_Q, 0) + page_size
    outs += _attend_all(q_TNH[num_lanes:], kv_PSCH, chunks_QJ, lens_Q)
  return jnp.concatenate(outs)


def work(
  *,
  num_sequences: int,
  num_queries: int,
  num_keys: float,
  num_heads: int,
  key_bytes: int,
  head_dim: int,
) -> Work:
  """What a call costs, in whole blocks of queries.

  Args:
    num_sequences: Q of the call.
    num_queries: of each sequence.
    num_keys: of each sequence, on average.
    num_heads: N.
    key_bytes: of the key and the value of one position, all heads.
    head_dim: H.
  """
  block = _block_q(num_queries)
  # Blocks of queries times the sequences that they have a part of.
  visited = num_sequences * -(-num_queries // block) * num_keys
  return Work(
    flops=4.0 * visited * block * num_heads * head_dim,
    num_bytes=int(visited * key_bytes),
  )


def _block_q(num_queries: int) -> int:
  return _BLOCK_LANES if num_queries == 1 else min(num_queries, _BLOCK_CHUNKS)


def _attend_all(
  q_TNH: jax.Array, kv_PSCH: jax.Array, pages_QJ: jax.Array, lens_Q: jax.Array
) -> list[jax.Array]:
  """Sequences with equally many queries, in as many calls as it takes."""
  Q, J = pages_QJ.shape
  num_queries = len(q_TNH) // Q
  width = -(-J // _COLUMNS) * _COLUMNS
  size = max(1, _MAX_PAGES // width)
  return [
    _call(
      q_TNH[first * num_queries : (first + size) * num_queries],
      kv_PSCH,
      pages_QJ[first : first + size],
      lens_Q[first : first + size],
    )
    for first in range(0, Q, size)
  ]


def _call(
  q_TNH: jax.Array, kv_PSCH: jax.Array, pages_QJ: jax.Array, lens_Q: jax.Array
) -> jax.Array:
  Q, J = pages_QJ.shape
  num_queries = len(q_TNH) // Q
  return kernels.ragged_paged_attention(
    q_TNH,
    kv_PSCH,
    lens_Q,
    pages_QJ,
    jnp.arange(Q + 1, dtype=jnp.int32) * num_queries,
    jnp.array([Q], jnp.int32),
    sm_scale=q_TNH.shape[-1] ** -0.5,
    num_kv_pages_per_block=min(max(1, _BLOCK_KV // kv_PSCH.shape[1]), J),
    num_queries_per_block=min(_block_q(num_queries), len(q_TNH)),
    vmem_limit_bytes=_VMEM_BYTES,
  )
