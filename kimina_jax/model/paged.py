"""Attention to a KV cache that lies in pages.

In: rotated queries, keys and values of new tokens, and which pages their
sequences own. Out: the attended values, and the cache with the new keys. Never
decides which page belongs to whom, and never copies a layer of the cache.

A row of a forward holds the tokens of one replica: one token of each lane, then
the tokens of one page of each chunk. Lanes decode; chunks are pages of prompts,
and several may belong to one prompt, since what is new is stored before
anything attends. All layers share one pool, so that a layer is no slice of it.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

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
  narrow,
  scale_heads,
)

# Pages that are looked at together, so that they stay in a CPU's cache; other
# machines want enough work at a time.
_PAGES_AT_ONCE = {"cpu": 32}
_MANY_PAGES = 1024


class PagedCache(NamedTuple):
  """Keys and values of all layers, in pages of S positions.

  Layer l's part of page p of a replica that has P pages is entry l P + p of
  the replica's part of the pool.

  Attributes:
    kv_PSCH: C is the key and the value of head 0, then those of head 1, …
    scale_LCH: float32, what keys and values were divided by to fit a narrow
      dtype; None if they are as they were.
  """

  kv_PSCH: jax.Array
  scale_LCH: jax.Array | None = None


class Ragged(NamedTuple):
  """Pages of the sequences that the tokens of a row belong to.

  A row has Q + Q' × S tokens: those of the Q lanes, then of the Q' chunks.

  Attributes:
    lanes_BQJ: int32, page J of the sequence in each lane.
    chunks_BQJ: int32, the same of the sequence of each chunk.
  """

  lanes_BQJ: jax.Array
  chunks_BQJ: jax.Array


class Sequences(NamedTuple):
  """Where the tokens of a forward are stored, and what they see; of any layer.

  Attributes:
    lanes_BQJ: pages of the lanes' sequences.
    chunks_BQJ: pages of the chunks' sequences.
    lane_positions_BQ: of the one token of each lane.
    chunk_positions_BQS: of the tokens of each chunk.
    page_BT: where each token is stored; -1 is nowhere.
    offset_BT: at which position of that page.
    lines: the lanes' pages as the plain path reads them; kernels do not, and
      then nothing computes them.
  """

  lanes_BQJ: jax.Array
  chunks_BQJ: jax.Array
  lane_positions_BQ: jax.Array
  chunk_positions_BQS: jax.Array
  page_BT: jax.Array
  offset_BT: jax.Array
  lines: tuple[paged_xla.Line, paged_xla.Line]


def init_pages(
  config: ModelConfig,
  *,
  num_pages: int,
  page_size: int,
  dtype: str,
  scale_LCH: jax.Array | None = None,
) -> PagedCache:
  """A pool of zeros.

  Args:
    config: of the model.
    num_pages: of all replicas, per layer.
    page_size: S.
    dtype: of kv_quantization.DTYPES; "auto" is that of the activations.
    scale_LCH: see kv_quantization.py.
  """
  shape = (
    *(config.num_layers * num_pages, page_size),
    *(2 * config.num_kv_heads, config.head_dim),
  )
  zeros = jnp.zeros(shape, cache_dtype(config, dtype))
  return PagedCache(zeros, scale_LCH)


def copy_pages(
  cache: PagedCache,
  copies_BA2: jax.Array,
  num_copies_B: jax.Array,
  *,
  config: ModelConfig,
) -> PagedCache:
  """Copies pages onto others, in all layers, one after the other.

  Args:
    cache: donate it under jit and it is updated in place.
    copies_BA2: int32, from which page to which, of each replica.
    num_copies_B: int32, how many of them count.
    config: of the model.
  """
  table = ACTIVATIONS["decode"]
  pool, rows = spec("PSCH", table), spec("B", table)

  @functools.partial(
    jax.shard_map, in_specs=(pool, rows, rows), out_specs=pool, check_vma=False
  )
  def run(
    kv_PSCH: jax.Array, copies_BA2: jax.Array, num_copies_B: jax.Array
  ) -> jax.Array:
    def copy(index: jax.Array, kv_LPSCH: jax.Array) -> jax.Array:
      source, target = copies_BA2[0, index]
      page = jax.lax.dynamic_slice_in_dim(kv_LPSCH, source, 1, axis=1)
      return jax.lax.dynamic_update_slice_in_dim(kv_LPSCH, page, target, axis=1)

    kv_LPSCH = kv_PSCH.reshape(config.num_layers, -1, *kv_PSCH.shape[1:])
    kv_LPSCH = jax.lax.fori_loop(0, num_copies_B[0], copy, kv_LPSCH)
    return kv_LPSCH.reshape(kv_PSCH.shape)

  return cache._replace(kv_PSCH=run(cache.kv_PSCH, copies_BA2, num_copies_B))


def pages_at_once() -> int:
  """How many pages the plain path looks at together, on the mesh's devices."""
  return _PAGES_AT_ONCE.get(mesh_platform(), _MANY_PAGES)


def locate(
  ragged: Ragged, positions_BT: jax.Array, *, cache: PagedCache, table: Table
) -> Sequences:
  """What all layers of a forward want to know; call it with a mesh set.

  Args:
    ragged: pages of the sequences.
    positions_BT: int32, -1 where there is no token.
    cache: whose pages they are.
    table: of the activations.
  """
  rows = spec("B", table)
  run = jax.shard_map(
    functools.partial(_locate_here, cache.kv_PSCH.shape[1]),
    in_specs=(rows, rows),
    out_specs=rows,
    check_vma=False,
  )
  return run(ragged, positions_BT)


def _locate_here(
  page_size: int, ragged: Ragged, positions_BT: jax.Array
) -> Sequences:
  """Of the one replica that a device holds."""
  if len(positions_BT) != 1:
    raise ValueError(
      f"{len(positions_BT)} rows; a device holds one for each replica"
    )
  lanes_QJ, chunks_QJ = ragged.lanes_BQJ[0], ragged.chunks_BQJ[0]
  positions_T = positions_BT[0]
  num_lanes = len(lanes_QJ)
  lanes_T = jnp.arange(num_lanes)
  chunks_T = num_lanes + jnp.repeat(jnp.arange(len(chunks_QJ)), page_size)
  sequence_T = jnp.concatenate((lanes_T, chunks_T))
  pages_QJ = jnp.concatenate((lanes_QJ, chunks_QJ))
  page_T = pages_QJ[sequence_T, jnp.maximum(positions_T, 0) // page_size]
  lane_positions_Q = positions_T[:num_lanes]
  sequences = Sequences(
    lanes_QJ,
    chunks_QJ,
    lane_positions_Q,
    positions_T[num_lanes:].reshape(-1, page_size),
    jnp.where(positions_T < 0, -1, page_T),
    positions_T % page_size,
    paged_xla.stand_in_lines(
      lanes_QJ,
      lane_positions_Q,
      page_size=page_size,
      pages_at_once=pages_at_once(),
    ),
  )
  return jax.tree.map(lambda x: x[None], sequences)


def attend_paged(
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  cache: PagedCache,
  *,
  layer: jax.Array,
  sequences: Sequences,
  config: ModelConfig,
  table: Table,
) -> tuple[jax.Array, PagedCache]:
  """Stores the new keys and values, then attends what each token may see.

  A token sees the positions of its sequence up to its own. Call it with a mesh
  set; B is the replicas, one to each device or group of devices. Where there
  is no token nothing is stored, and what comes out means nothing.

  Args:
    q_BTNH: queries.
    k_BTKH: keys.
    v_BTKH: values.
    cache: donate it under jit and it is updated in place.
    layer: int32 [], whose part of the cache it is.
    sequences: as `locate` found them.
    config: of the model; `attention` names the kernel, and "auto" takes
      ragged paged attention on TPU where it can serve.
    table: of the activations.
  """
  pool, rows = spec("PSCH", table), spec("B", table)
  q_spec, kv_spec = spec("BTNH", table), spec("BTKH", table)
  scale_CH = None if cache.scale_LCH is None else cache.scale_LCH[layer]

  run = jax.shard_map(
    functools.partial(_attend_here, config),
    in_specs=(
      *(q_spec, kv_spec, kv_spec, pool, spec("CH", table)),
      *(PartitionSpec(), rows),
    ),
    out_specs=(q_spec, pool),
    check_vma=False,
  )
  operands = (q_BTNH, k_BTKH, v_BTKH, cache.kv_PSCH, scale_CH, layer)
  out_BTNH, kv_PSCH = run(*operands, sequences)
  return out_BTNH, cache._replace(kv_PSCH=kv_PSCH)


def _attend_here(
  config: ModelConfig,
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  kv_PSCH: jax.Array,
  scale_CH: jax.Array | None,
  layer: jax.Array,
  sequences: Sequences,
) -> tuple[jax.Array, jax.Array]:
  """What one device holds: a replica, and its heads."""
  first = layer * (kv_PSCH.shape[0] // config.num_layers)
  sequences = jax.tree.map(lambda x: x[0], sequences)
  new_TCH = interleave(k_BTKH[0], v_BTKH[0])
  q_TNH = q_BTNH[0]
  if scale_CH is not None:
    new_TCH = narrow(new_TCH, scale_CH, kv_PSCH.dtype)
    q_TNH = scale_heads(q_TNH, scale_CH[0::2])
  kv_PSCH = _store(kv_PSCH, new_TCH, first, sequences)
  attend = _kernel(config.attention, q_TNH, kv_PSCH)
  out_TNH = attend(q_TNH, kv_PSCH, first, sequences)
  if scale_CH is not None:
    out_TNH = scale_heads(out_TNH, scale_CH[1::2])
  return out_TNH[None], kv_PSCH


def _store(
  kv_PSCH: jax.Array, new_TCH: jax.Array, first: jax.Array, sequences: Sequences
) -> jax.Array:
  beyond = jnp.iinfo(jnp.int32).max
  page_T = sequences.page_BT
  page_T = jnp.where(page_T < 0, beyond, first + page_T)
  at = kv_PSCH.at[page_T, sequences.offset_BT]
  return at.set(new_TCH.astype(kv_PSCH.dtype), mode="drop")


def _kernel(
  name: str, q_TNH: jax.Array, kv_PSCH: jax.Array
) -> Callable[..., jax.Array]:
  """The function that attends; each sees what one device holds."""
  on_tpu = mesh_platform() == "tpu"
  if name in ("auto", "splash") and on_tpu:
    fault = ragged_kernel.fault(q_TNH, kv_PSCH)
    if not fault:
      return _attend_tpu
    warn_once(f"paged attention is plain XLA instead of a kernel: {fault}")
  return _attend_xla


def _attend_xla(
  q_TNH: jax.Array, kv_PSCH: jax.Array, first: jax.Array, sequences: Sequences
) -> jax.Array:
  return paged_xla.attend(
    q_TNH,
    kv_PSCH,
    lines=sequences.lines,
    chunks_QJ=sequences.chunks_BQJ,
    chunk_positions_QS=sequences.chunk_positions_BQS,
    first=first,
  )


def _attend_tpu(
  q_TNH: jax.Array, kv_PSCH: jax.Array, first: jax.Array, sequences: Sequences
) -> jax.Array:
  return ragged_kernel.attend(
    q_TNH,
    kv_PSCH,
    lanes_QJ=first + sequences.lanes_BQJ,
    chunks_QJ=first + sequences.chunks_BQJ,
    lane_positions_Q=sequences.lane_positions_BQ,
    chunk_positions_Q=sequences.chunk_positions_BQS[..., 0],
  )
