"""Embeddings of tokens while training, where the table is split both ways.

In: the table and tokens. Out: the stream that enters the layers. Each device
looks up its part of D, in its part of V, for the tokens of all devices that
share its rows; then what was found moves, as the table is larger than a batch.
Every move is written out: asked for the layouts alone, the compiler makes the
whole array on every device in between. Never gathers the table.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from kimina_jax.infra.mesh import ACTIVATIONS, PARAMS, STREAMS, axes_of, spec


def look_up(
  table_VD: jax.Array, tokens_BT: jax.Array, dtype: jnp.dtype
) -> jax.Array:
  """table_VD[tokens_BT] in dtype, laid out as the stream [B, T, D].

  Call it under jit, with a mesh set. Gradients add up in the table's dtype.

  Args:
    table_VD: in the train layout.
    tokens_BT: int32.
    dtype: of what travels.
  """
  split = axes_of("D", PARAMS["train"])
  rows, positions = (axes_of(x, ACTIVATIONS["train"]) for x in "BT")
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
    x_BTD = _local(table_VD, tokens_BT).astype(dtype)
    # The last axis of D changes neighbours first, so that D stays in order.
    x_BTD = _move(x_BTD, [a for a in split if a in positions], dim=1)
    x_BTD = jax.lax.psum_scatter(
      x_BTD, _vocab_axes(), scatter_dimension=1, tiled=True
    )
    return _move(x_BTD, [a for a in split if a in rows], dim=0)

  return run(table_VD, tokens_BT)


def _local(table_VD: jax.Array, tokens_BT: jax.Array) -> jax.Array:
  """Zeros where another device has the token."""
  place_BT = tokens_BT - jax.lax.axis_index(_vocab_axes()) * len(table_VD)
  here_BT = (place_BT >= 0) & (place_BT < len(table_VD))
  found_BTD = table_VD[jnp.where(here_BT, place_BT, 0)]
  return jnp.where(here_BT[..., None], found_BTD, 0)


def _move(x_BTD: jax.Array, axes: list[str], *, dim: int) -> jax.Array:
  """Mesh axes that split D split another dim instead."""
  for axis in reversed(axes):
    x_BTD = jax.lax.all_to_all(
      x_BTD, axis, split_axis=dim, concat_axis=2, tiled=True
    )
  return x_BTD


def _vocab_axes() -> tuple[str, ...]:
  return axes_of("V", PARAMS["train"])
