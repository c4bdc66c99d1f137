"""Resharding: a copy of the trainer's weights in the layout of the sampler.

In: params in the train layout and the master dtype. Out: a copy in the decode
layout and the compute dtype. The trainer's own params are never changed or
aliased.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding

from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import param_dims, param_shardings

# Memory layout of weights for decoding on TPU, outermost dim first.
_TPU_ORDERS = {"LDNH": (0, 2, 1, 3), "LDKH": (0, 2, 1, 3), "LDF": (0, 1, 2)}


def make_reshard(
  config: ModelConfig, mesh: Mesh, replicas: Mesh
) -> Callable[[dict[str, Any]], dict[str, Any]]:
  """A compiled function: params in train layout → params in decode layout.

  Args:
    config: names the compute dtype.
    mesh: of training.
    replicas: the same devices in the same order, see `replica_mesh`; each
      replica gets a copy.
  """
  train = param_shardings(config, mesh, "train")

  def cast(weight: jax.Array, layout: NamedSharding) -> jax.Array:
    # A copy even if neither dtype nor layout changes: the trainer donates its
    # own while the sampler's live on. Pinned to the train layout, so that
    # the cast comes before the move and halves what travels.
    weight = jnp.array(weight, config.compute_dtype, copy=True)
    return jax.lax.with_sharding_constraint(weight, layout)

  return jax.jit(
    lambda params: jax.tree.map(cast, params, train),
    in_shardings=(train,),
    out_shardings=decode_formats(config, replicas),
  )


def decode_formats(config: ModelConfig, replicas: Mesh) -> dict[str, Any]:
  """Shardings of the weights on the replicas; on TPU, memory layouts, too.

  By default the TPU compiler chooses the layout with the least padding, say D
  innermost where a shard of F is no multiple of 128. A dispatch would then copy
  all such weights at once, which takes a third of the weights' memory again.
  """
  shardings = param_shardings(config, replicas, "decode")
  if replicas.devices.flat[0].platform != "tpu":
    return shardings

  def order(dims: str, where: NamedSharding) -> NamedSharding | Format:
    found = _TPU_ORDERS.get(dims)
    return Format(Layout(found), where) if found else where

  return jax.tree.map(order, param_dims(config), shardings)


def local_part(params: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
  """The shards of this process's replicas, as arrays on those replicas alone.

  Nothing is copied: the new arrays share the buffers of the old ones.

  Args:
    params: in decode layout, on the replicas of all processes.
    mesh: the replicas of this process, see `local_mesh`.
  """

  def wrap(weight: jax.Array) -> jax.Array:
    assert isinstance(weight.sharding, NamedSharding)
    return jax.make_array_from_single_device_arrays(
      weight.shape,
      NamedSharding(mesh, weight.sharding.spec),
      [shard.data for shard in weight.addressable_shards],
    )

  return jax.tree.map(wrap, params)
