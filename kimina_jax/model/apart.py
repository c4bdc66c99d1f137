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

from kimina_jax.model.config import ModelConfig


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
