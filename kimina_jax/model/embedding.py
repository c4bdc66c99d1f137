"""Token embedding with a table that is sharded over vocabulary and width.

In: the table in the layout of training, and tokens. Out: the residual stream
that enters the layers. Each device looks up its part of D, in its part of V,
for the tokens of all devices that share its rows; then the found vectors move
to the devices of their tokens, since the table is larger than a batch. The
collectives are explicit: given the layouts alone, the compiler would gather
the whole array on every device in between.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from kimina_jax.infra.mesh import ACTIVATIONS, PARAMS, STREAMS, axes_of, spec


def embed_sharded(
  table_VD: jax.Array, tokens_BT: jax.Array, dtype: jnp.dtype
) -> jax.Array:
  """table_VD[tokens_BT] in dtype, laid out as the residual stream [B, T, D].

  Call it under jit, with a mesh set. Gradients add up in the table's dtype.

  Args:
    table_VD: in the train layout.
    tokens_BT: int32.
    dtype: of the result, and of what moves between devices.
  """
  split = axes_of("D", PARAMS["train"])
  rows = axes_of("B", ACTIVATIONS["train"])
  positions = axes_of("T", ACTIVATIONS["train"])
  tokens_spec = PartitionSpec(
    *(
      tuple(axis for axis in axes if axis not in split) or None
      for axes in (rows, positions)
    )
  )

  @functools.partial(
    jax.shard_map,
    in_specs=(spec("VD", PARAMS["train"]), tokens_spec),
    out_specs=spec("BTD", STREAMS["train"]),
    check_vma=False,
  )
  def run(table_VD: jax.Array, tokens_BT: jax.Array) -> jax.Array:
    x_BTD = _embed_local(table_VD, tokens_BT).astype(dtype)
    # The innermost mesh axis of D moves first, so that D stays in order.
    x_BTD = _exchange(x_BTD, [a for a in split if a in positions], dim=1)
    x_BTD = jax.lax.psum_scatter(
      x_BTD, _vocab_axes(), scatter_dimension=1, tiled=True
    )
    return _exchange(x_BTD, [a for a in split if a in rows], dim=0)

  return run(table_VD, tokens_BT)


def _embed_local(table_VD: jax.Array, tokens_BT: jax.Array) -> jax.Array:
  """The vectors in this device's part of the table, and zeros for others."""
  index_BT = tokens_BT - jax.lax.axis_index(_vocab_axes()) * len(table_VD)
  here_BT = (index_BT >= 0) & (index_BT < len(table_VD))
  found_BTD = table_VD[jnp.where(here_BT, index_BT, 0)]
  return jnp.where(here_BT[..., None], found_BTD, 0)


def _exchange(x_BTD: jax.Array, axes: list[str], *, dim: int) -> jax.Array:
  """All-to-all: the mesh axes that split D split another dim instead."""
  for axis in reversed(axes):
    x_BTD = jax.lax.all_to_all(
      x_BTD, axis, split_axis=dim, concat_axis=2, tiled=True
    )
  return x_BTD


def _vocab_axes() -> tuple[str, ...]:
  return axes_of("V", PARAMS["train"])
