"""Splash attention: a causal flash kernel for TPU, on one device's share.

In: queries of a device, the keys of whole rows, and the segments of both. Out:
the attended values. Blocks that the causal mask hides are never visited.
Tri Dao 2023 (arXiv 2307.08691) explains the algorithm. Never communicates.
"""

import functools
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernels,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as masks,
)
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from kimina_jax.model.remat import ATTENTION

# Rows of a register: every block is a multiple.
_LANES = 128
_MAX_BLOCK_Q = 512
_MAX_BLOCK_KV = 1024

Kernel = kernels.SplashAttentionKernel


def fault(*, num_queries: int, head_dim: int) -> str:
  """Why the kernel cannot serve; empty if it can.

  Args:
    num_queries: positions of one device.
    head_dim: H.
  """
  if num_queries % _LANES:
    return (
      f"splash attention needs a multiple of {_LANES} positions per device,"
      f" not {num_queries}"
    )
  if head_dim % 64:
    return f"splash attention needs head dims of 64, 128 …, not {head_dim}"
  return ""


def make_kernel(
  num_keys: int,
  mesh: AbstractMesh,
  axes: tuple[str, ...],
  *,
  interpret: bool,
) -> tuple[Kernel, Kernel]:
  """The kernel as a pytree of block tables, and its partition specs.

  Each part of the queries has tables of its own, as it sees another part of
  the triangle.

  Args:
    num_keys: T of whole rows.
    mesh: that is set.
    axes: over which positions are split.
    interpret: run in Pallas's interpreter.
  """
  shards = int(np.prod([mesh.shape[axis] for axis in axes]))
  kernel = _build(num_keys, shards, interpret)
  where = PartitionSpec(None, axes or None)
  return kernel, kernel.manual_sharding_spec(NamedSharding(mesh, where))


def attend(
  kernel: Kernel,
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  segments_BT: jax.Array,
  keys_BS: jax.Array,
) -> jax.Array:
  """Attended values [B, T, N, H] of one device's queries."""
  scaled_BTNH = q_BTNH.astype(jnp.float32) * q_BTNH.shape[-1] ** -0.5
  out_BNTH = jax.vmap(kernel)(
    scaled_BTNH.astype(q_BTNH.dtype).swapaxes(1, 2),
    k_BSKH.swapaxes(1, 2),
    v_BSKH.swapaxes(1, 2),
    kernels.SegmentIds(segments_BT, keys_BS),
  )
  return out_BNTH.swapaxes(1, 2)


@functools.cache
def _build(num_keys: int, shards: int, interpret: bool) -> Kernel:
  """All heads share one mask, so the tables are made for one head.

  They are made in a thread of their own and kept as NumPy arrays: what is
  cached must not belong to the trace, nor lie on the mesh, of one call.
  """
  mask = masks.MultiHeadMask([masks.CausalMask((num_keys, num_keys))])
  with futures.ThreadPoolExecutor(max_workers=1) as pool:
    kernel = pool.submit(
      kernels.make_splash_mha,
      mask,
      block_sizes=_block_sizes(num_keys // shards, num_keys),
      head_shards=1,
      q_seq_shards=shards,
      residual_checkpoint_name=ATTENTION,
      interpret=interpret,
    )
    return jax.tree.map(np.asarray, kernel.result())


def _block_sizes(num_queries: int, num_keys: int) -> kernels.BlockSizes:
  block_q = _block(num_queries, _MAX_BLOCK_Q)
  block_kv = _block(num_keys, _MAX_BLOCK_KV)
  compute = _block(block_kv, _MAX_BLOCK_Q)
  return kernels.BlockSizes(
    block_q=block_q,
    block_kv=block_kv,
    block_kv_compute=compute,
    block_q_dkv=block_q,
    block_kv_dkv=block_kv,
    block_kv_dkv_compute=compute,
    block_q_dq=block_q,
    block_kv_dq=block_kv,
  )


def _block(length: int, largest: int) -> int:
  """The largest multiple of the lanes that divides, by halves."""
  block = largest
  while length % block:
    block //= 2
  return block
