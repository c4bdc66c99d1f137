"""Weights as a CPU likes to read them, a few rows at a time.

In: params of the decode layout. Out: params whose layers are a tuple, which
`forward` runs one by one instead of in a scan. Nothing is computed; what a
layer gives is the same up to the order of sums.

A scan hands each layer a copy of its weights, which with few rows takes as
long as the products; and XLA's CPU backend multiplies twice as fast by weights
whose contracted dims come last, in as many groups as there are cores.
"""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params

# Below this, layers stay in a CPU's cache, and a program with all of them
# written out takes longer to compile than it saves.
_LARGE_BYTES = 32 * 2**20


def is_large(config: ModelConfig) -> bool:
  """Whether it pays to take the layers of a model apart."""
  layers = jax.tree.leaves(abstract_params(config)["layers"])
  itemsize = jnp.dtype(config.compute_dtype).itemsize
  return sum(leaf.size for leaf in layers) * itemsize >= _LARGE_BYTES


def take_apart(params: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
  """Layers as a tuple; their weights as layers.py reads grouped ones.

  Args:
    params: stacked layers.
    config: of the model.
  """

  def layer(index: int) -> dict[str, Any]:
    return jax.tree.map_with_path(
      lambda path, weight: _group(path[-1].key, weight[index]),
      params["layers"],
    )

  return {**params, "layers": tuple(map(layer, range(config.num_layers)))}


def _group(name: str, weight: jax.Array) -> jax.Array:
  """A matrix as [group, out…, in…]; a vector as it is."""
  dims = name.split("_")[-1]
  if "D" not in dims or len(dims) == 1:
    return weight
  if dims[0] == "D":
    weight = weight.transpose(*range(1, weight.ndim), 0)
  else:
    weight = weight.transpose(weight.ndim - 1, *range(weight.ndim - 1))
  count = math.gcd(weight.shape[0], _num_cores())
  return weight.reshape(count, -1, *weight.shape[1:])


def _num_cores() -> int:
  return len(os.sched_getaffinity(0))
