"""Causal attention over packed rows, and the choice of its kernel.

In: rotated queries, keys and values, and the segment of each position; the
mask follows from the segments, so that a kernel can use its structure. Out:
the attention output. Keys are never repeated over the query heads that share
them (grouped-query attention).

Kernels: splash attention on TPU (splash.py), cuDNN on GPU, plain XLA elsewhere
and where those cannot run. Where positions are split over the mesh (context
parallelism), a device keeps its queries and gathers all keys and values;
backward scatters their gradients back. Attention to a paged KV cache is
paged.py.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from kimina_jax.infra.mesh import Table, axes_of, constrain, num_shards, spec
from kimina_jax.model import splash
from kimina_jax.model.remat import ATTENTION
from kimina_jax.types import UsageError

# XLA attention: queries of a block, and the largest number of blocks, above
# which blocks are larger.
_BLOCK = 128
_MAX_BLOCKS = 8


def packed_attention(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  segments_BT: jax.Array,
  *,
  kernel: str,
  table: Table,
) -> jax.Array:
  """softmax(q·k / √H) v over the earlier keys of the same segment.

  Queries and keys are at the same positions: query t attends to keys s ≤ t of
  its own segment. Padding is segment 0; its output is finite and never used.
  Query head n reads kv head n // G (Ainslie et al. 2023, arXiv 2305.13245).
  Scores and softmax are float32. Call it with a mesh set.

  Args:
    q_BTNH: queries.
    k_BSKH: keys.
    v_BSKH: values.
    segments_BT: int32.
    kernel: "splash", "cudnn", "xla", or "auto": "splash" on TPU and "cudnn" on
      GPU where they can run, else "xla".
    table: mesh axes of the activations' dims.

  Returns:
    out_BTNH in the dtype of the values.

  Raises:
    UsageError: the named kernel cannot run, with the reason.
  """
  chosen = _choose_kernel(kernel, q_BTNH, k_BSKH, table)
  if chosen != "xla":
    operands = (q_BTNH, k_BSKH, v_BSKH, segments_BT)
    return _kernel_attention(chosen, operands, table)
  k_BSKH = constrain(k_BSKH, "BSKH", table)
  v_BSKH = constrain(v_BSKH, "BSKH", table)
  mesh = jax.sharding.get_abstract_mesh()
  if num_shards(mesh, "T", table) == 1:
    out_BTNH = _blocked_xla_attention(q_BTNH, k_BSKH, v_BSKH, segments_BT)
  else:
    visible_BTS = _visible(segments_BT)
    out_BTNH = _xla_attention(q_BTNH, k_BSKH, v_BSKH, visible_BTS)
  return checkpoint_name(out_BTNH, ATTENTION)


def _choose_kernel(
  kernel: str, q_BTNH: jax.Array, k_BTKH: jax.Array, table: Table
) -> str:
  platform = mesh_platform()
  native = {"tpu": "splash", "gpu": "cudnn"}.get(platform, "xla")
  wanted = native if kernel == "auto" else kernel
  if wanted == "xla":
    return wanted
  fault = _unsupported(wanted, platform, q_BTNH, k_BTKH, table)
  if not fault:
    return wanted
  if kernel != "auto":
    raise UsageError(
      f"model.attention = {kernel!r} cannot run: {fault}. Change that, or set"
      " model.attention to 'auto'"
    )
  warn_once(f"attention is plain XLA instead of {wanted}: {fault}")
  return "xla"


def _unsupported(
  wanted: str,
  platform: str,
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  table: Table,
) -> str:
  """The reason why a kernel cannot run; empty if it can."""
  B, T, N, H = q_BTNH.shape
  K = k_BTKH.shape[2]
  mesh = jax.sharding.get_abstract_mesh()
  shards = {dim: num_shards(mesh, dim, table) for dim in "BTNK"}
  for dim, size in (("B", B), ("T", T), ("N", N), ("K", K)):
    if size % shards[dim]:
      return f"{dim} = {size} does not divide over {shards[dim]} devices"
  if wanted == "splash":
    if platform == "gpu":
      return "splash attention runs on TPU, and interpreted on CPU"
    return splash.unsupported(num_queries=T // shards["T"], head_dim=H)
  if platform != "gpu":
    return f"cuDNN needs a GPU, the mesh is of {platform}"
  if q_BTNH.dtype != jnp.bfloat16:
    return f"cuDNN needs model.compute_dtype bfloat16, not {q_BTNH.dtype}"
  if T % 2 or H % 8 or H > 128:
    return (
      "cuDNN needs an even length and a head dim of 8, 16 … 128, not"
      f" {T} and {H}"
    )
  return ""


def mesh_platform() -> str:
  """Platform of the mesh that is set, which need not be this machine's."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


@functools.cache
def warn_once(text: str) -> None:
  """Logs a warning, once for each text."""
  logging.warning("%s", text)


def _kernel_attention(
  chosen: str, operands: tuple[jax.Array, ...], table: Table
) -> jax.Array:
  """Runs a kernel on each device's queries and all keys of its rows."""
  mesh = jax.sharding.get_abstract_mesh()
  axes = axes_of("T", table)
  kernel: splash.Kernel | None = None
  kernel_specs: Any = PartitionSpec()
  if chosen == "splash":
    kernel, kernel_specs = splash.make_kernel(
      operands[0].shape[1], mesh, axes, interpret=mesh_platform() != "tpu"
    )
  specs = tuple(spec(dims, table) for dims in ("BTNH", "BTKH", "BTKH", "BT"))

  @functools.partial(
    jax.shard_map,
    in_specs=(kernel_specs, *specs),
    out_specs=specs[0],
    check_vma=False,
  )
  def run(
    kernel: splash.Kernel | None,
    q_BTNH: jax.Array,
    k_BTKH: jax.Array,
    v_BTKH: jax.Array,
    segments_BT: jax.Array,
  ) -> jax.Array:
    k_BSKH, v_BSKH, segments_BS = (
      jax.lax.all_gather(x, axes, axis=1, tiled=True) if axes else x
      for x in (k_BTKH, v_BTKH, segments_BT)
    )
    gathered = (q_BTNH, k_BSKH, v_BSKH, segments_BT, segments_BS)
    if kernel is not None:
      return splash.splash_attention(kernel, *gathered)
    return _cudnn_attention(*gathered, axes)

  return run(kernel, *operands)


def _cudnn_attention(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  segments_BT: jax.Array,
  segments_BS: jax.Array,
  axes: tuple[str, ...],
) -> jax.Array:
  """cuDNN's kernel; it skips keys after the queries if positions are whole."""
  T, S = segments_BT.shape[1], segments_BS.shape[1]
  visible_BTS = segments_BT[:, :, None] == segments_BS[:, None, :]
  if T < S:
    first = T * jax.lax.axis_index(axes)
    causal_TS = jnp.arange(S)[None, :] <= first + jnp.arange(T)[:, None]
    visible_BTS &= causal_TS[None]
  return jax.nn.dot_product_attention(
    q_BTNH,
    k_BSKH,
    v_BSKH,
    mask=visible_BTS[:, None],
    is_causal=T == S,
    implementation="cudnn",
  )


def _visible(segments_BS: jax.Array) -> jax.Array:
  """The mask as an array: bool [B, T, S]."""
  position_S = jnp.arange(segments_BS.shape[1])
  causal_TS = position_S[None, :] <= position_S[:, None]
  return causal_TS[None] & (segments_BS[:, :, None] == segments_BS[:, None, :])


def _blocked_xla_attention(
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  segments_BT: jax.Array,
) -> jax.Array:
  """XLA attention by blocks of queries, each with the keys up to its end.

  Nearly half of the scores are not computed. None is saved for backward, which
  recomputes those of one block at a time.
  """

  @functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0, 1))
  def attend_block(start: int, end: int, *operands: jax.Array) -> jax.Array:
    q_BTNH, k_BSKH, v_BSKH, segments_BS = (x[:, :end] for x in operands)
    visible_BTS = _visible(segments_BS)[:, start:]
    return _xla_attention(q_BTNH[:, start:], k_BSKH, v_BSKH, visible_BTS)

  T = q_BTNH.shape[1]
  size = max(_BLOCK, -(-T // _MAX_BLOCKS))
  operands = (q_BTNH, k_BTKH, v_BTKH, segments_BT)
  outs = [
    attend_block(start, min(start + size, T), *operands)
    for start in range(0, T, size)
  ]
  return jnp.concatenate(outs, axis=1)


def _xla_attention(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  visible_BTS: jax.Array,
) -> jax.Array:
  """Attention as two einsums and a softmax.

  The order of dims is such that only operands are transposed, not products.
  """
  B, T, N, H = q_BTNH.shape
  K = k_BSKH.shape[2]
  q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
  q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
  k_BKSH, v_BKSH = (x.transpose(0, 2, 1, 3) for x in (k_BSKH, v_BSKH))
  score_BKGTS = jnp.einsum(
    "BKGTH,BKSH->BKGTS", q_BKGTH, k_BKSH, preferred_element_type=jnp.float32
  )
  score_BKGTS = jnp.where(
    visible_BTS[:, None, None], score_BKGTS * H**-0.5, -jnp.inf
  )
  share_BKGTS = jax.nn.softmax(score_BKGTS, axis=-1).astype(v_BSKH.dtype)
  out_BKGTH = jnp.einsum("BKGTS,BKSH->BKGTH", share_BKGTS, v_BKSH)
  return out_BKGTH.transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)
