"""Attention: the one place where a kernel is chosen.

In: rotated queries, keys, values and a mask by description, not by array, so
that a kernel may use its structure. Out: the attended values. Never repeats
keys over the query heads that share them.

Where positions are split over the mesh, a device keeps its queries and gathers
all keys and values; backward scatters their gradients back.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from kimina_jax.infra.mesh import Table, axes_of, constrain, num_shards, spec
from kimina_jax.model import splash
from kimina_jax.model.remat import ATTENTION
from kimina_jax.types import UsageError

# Plain attention: queries of a block, unless that makes too many blocks.
_BLOCK = 128
_MAX_BLOCKS = 8


class Packed(NamedTuple):
  """Queries and keys are the same tokens: query t attends the keys s ≤ t of
  its own segment.

  Segment 0 (padding) attends itself, which is finite and read by nobody.
  """

  segments_BT: jax.Array


def attend(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  *,
  mask: Packed,
  kernel: str,
  table: Table,
) -> jax.Array:
  """softmax(q·k / √H) v over the keys that the mask shows [B, T, N, H].

  Query head n reads kv head n // G, with G = N / K (Ainslie et al. 2023).
  Scores and softmax are float32. Call it with a mesh set.

  Args:
    q_BTNH: queries.
    k_BSKH: keys.
    v_BSKH: values.
    mask: who attends whom.
    kernel: "auto" takes the platform's own where it can serve: "splash" on
      TPU, "cudnn" on GPU, "xla" elsewhere.
    table: of the activations: which mesh axes split which dim.

  Raises:
    UsageError: the kernel that was asked for cannot serve, and why.
  """
  chosen = _choose(kernel, q_BTNH, k_BSKH, table)
  if chosen != "xla":
    operands = (q_BTNH, k_BSKH, v_BSKH, mask.segments_BT)
    return _attend_by_device(chosen, operands, table)
  k_BSKH, v_BSKH = (constrain(x, "BSKH", table) for x in (k_BSKH, v_BSKH))
  mesh = jax.sharding.get_abstract_mesh()
  if num_shards(mesh, "T", table) == 1:
    out_BTNH = _attend_in_blocks(q_BTNH, k_BSKH, v_BSKH, mask.segments_BT)
  else:
    visible_BTS = _visible(mask.segments_BT)
    out_BTNH = _attend_xla(q_BTNH, k_BSKH, v_BSKH, visible_BTS)
  return checkpoint_name(out_BTNH, ATTENTION)


def _choose(
  kernel: str, q_BTNH: jax.Array, k_BTKH: jax.Array, table: Table
) -> str:
  platform = mesh_platform()
  own = {"tpu": "splash", "gpu": "cudnn"}.get(platform, "xla")
  wanted = own if kernel == "auto" else kernel
  if wanted == "xla":
    return wanted
  fault = _fault(wanted, platform, q_BTNH, k_BTKH, table)
  if not fault:
    return wanted
  if kernel != "auto":
    raise UsageError(
      f"model.attention = {kernel!r} cannot serve: {fault}. Change that, or"
      " set model.attention to 'auto'"
    )
  warn_once(f"attention is plain XLA instead of {wanted}: {fault}")
  return "xla"


def _fault(
  wanted: str,
  platform: str,
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  table: Table,
) -> str:
  """Why a kernel cannot serve; empty if it can."""
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
    return splash.fault(num_queries=T // shards["T"], head_dim=H)
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
  """Of the mesh that is set, whose devices need not be of this machine."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


@functools.cache
def warn_once(text: str) -> None:
  logging.warning("%s", text)


def _attend_by_device(
  chosen: str, operands: tuple[jax.Array, ...], table: Table
) -> jax.Array:
  """Runs a kernel on what each device holds, and the keys it gathers."""
  mesh = jax.sharding.get_abstract_mesh()
  axes = axes_of("T", table)
  kernel, kernel_specs = None, PartitionSpec()
  if chosen == "splash":
    kernel, kernel_specs = splash.make_kernel(
      operands[0].shape[1], mesh, axes, interpret=mesh_platform() != "tpu"
    )
  wheres = tuple(spec(x, table) for x in ("BTNH", "BTKH", "BTKH", "BT"))

  @functools.partial(
    jax.shard_map,
    in_specs=(kernel_specs, *wheres),
    out_specs=wheres[0],
    check_vma=False,
  )
  def run(
    kernel: Callable[..., jax.Array] | None,
    q_BTNH: jax.Array,
    k_BTKH: jax.Array,
    v_BTKH: jax.Array,
    segments_BT: jax.Array,
  ) -> jax.Array:
    k_BSKH, v_BSKH, keys_BS = (
      jax.lax.all_gather(x, axes, axis=1, tiled=True) if axes else x
      for x in (k_BTKH, v_BTKH, segments_BT)
    )
    gathered = (q_BTNH, k_BSKH, v_BSKH, segments_BT, keys_BS)
    if kernel is not None:
      return splash.attend(kernel, *gathered)
    return _attend_cudnn(*gathered, axes)

  return run(kernel, *operands)


def _attend_cudnn(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  segments_BT: jax.Array,
  keys_BS: jax.Array,
  axes: tuple[str, ...],
) -> jax.Array:
  """cuDNN skips what lies above the diagonal, if it holds all queries."""
  T, S = segments_BT.shape[1], keys_BS.shape[1]
  visible_BTS = segments_BT[:, :, None] == keys_BS[:, None, :]
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
  """bool [B, T, S]."""
  keys = jnp.arange(segments_BS.shape[1])
  causal_TS = keys[None, :] <= keys[:, None]
  return causal_TS[None] & (segments_BS[:, :, None] == segments_BS[:, None, :])


def _attend_in_blocks(
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  segments_BT: jax.Array,
) -> jax.Array:
  """Blocks of queries, each with the keys that do not come after it.

  Nearly half of the scores are never computed; none is saved for backward,
  which computes those of a block again.
  """

  @functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0, 1))
  def attend_block(start: int, end: int, *operands: jax.Array) -> jax.Array:
    q_BTNH, k_BSKH, v_BSKH, segments_BS = (x[:, :end] for x in operands)
    visible_BTS = _visible(segments_BS)[:, start:]
    return _attend_xla(q_BTNH[:, start:], k_BSKH, v_BSKH, visible_BTS)

  T = q_BTNH.shape[1]
  size = max(_BLOCK, -(-T // _MAX_BLOCKS))
  operands = (q_BTNH, k_BTKH, v_BTKH, segments_BT)
  outs = [
    attend_block(start, min(start + size, T), *operands)
    for start in range(0, T, size)
  ]
  return jnp.concatenate(outs, axis=1)


def _attend_xla(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  visible_BTS: jax.Array,
) -> jax.Array:
  """In this order of dims no product has to be transposed, only operands."""
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
