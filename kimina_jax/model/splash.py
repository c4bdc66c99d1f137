"""Splash attention: JAX's flash-attention kernel for TPU, on one device.

In: a device's queries, the keys and values of whole rows, and the segments of
both. Out: the attention output. The kernel skips blocks that the causal mask
hides, and does not communicate. The algorithm is FlashAttention-2 (Dao 2023,
arXiv 2307.08691).
"""

import functools
from concurrent import futures
from typing import Any

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

# Lanes of a vector register: every block is a multiple.
_LANES = 128
_MAX_BLOCK_Q = 512
_MAX_BLOCK_KV = 1024

Kernel = kernels.SplashAttentionKernel


def unsupported(*, num_queries: int, head_dim: int) -> str:
  """The reason why the kernel cannot run; empty if it can.

  Args:
    num_queries: positions on one device.
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

  Each shard of the queries has its own tables, since each has another part of
  the causal mask.

  Args:
    num_keys: T of whole rows.
    mesh: the mesh that is set.
    axes: mesh axes that split the positions.
    interpret: whether to run in Pallas's interpreter.
  """
  shards = int(np.prod([mesh.shape[axis] for axis in axes]))
  kernel = _build(num_keys, shards, interpret)
  where = PartitionSpec(None, axes or None)
  return kernel, kernel.manual_sharding_spec(NamedSharding(mesh, where))


def splash_attention(
  kernel: Kernel,
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  segments_BT: jax.Array,
  segments_BS: jax.Array,
) -> jax.Array:
  """Attention output [B, T, N, H] of one device's queries."""
  scaled_BTNH = q_BTNH.astype(jnp.float32) * q_BTNH.shape[-1] ** -0.5
  out_BNTH: Any = jax.vmap(kernel)(
    scaled_BTNH.astype(q_BTNH.dtype).swapaxes(1, 2),
    k_BSKH.swapaxes(1, 2),
    v_BSKH.swapaxes(1, 2),
    kernels.SegmentIds(segments_BT, segments_BS),
  )
  return out_BNTH.swapaxes(1, 2)


@functools.cache
def _build(num_keys: int, shards: int, interpret: bool) -> Kernel:
  """Builds the block tables for one head; all heads share the mask.

  They are built in another thread and kept as NumPy arrays: a cached value
  must not belong to the trace, or lie on the mesh, of one call.
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
  """The largest of `largest`, its half, its quarter … that divides length."""
  block = largest
  while length % block:
    block //= 2
  return block
