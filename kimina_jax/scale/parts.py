"""What a row is made of: compiled programs with abstract inputs, and sizes.

In: models, meshes. Out: Parts and Plans, abstract arrays that lie where a run
would have them, and what the model needs. Never allocates an array.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.model.ragged_kernel import Work

PyTree = Any
# Kernels whose work follows from what their operands hold: by the beginning of
# a name, from the shapes of the operands of one device's call to its work.
Kernels = Mapping[str, Callable[[Sequence[tuple[int, ...]]], Work]]


class Part(NamedTuple):
  """One program of a row.

  Attributes:
    name: of the program.
    function: jitted.
    args: abstract arguments.
    options: static keyword arguments.
    while_trips: runs of its open-ended loops, the outermost first, see
      hlo.visits.
    held: bytes per device of what is not among its arguments but must stay
      on the device meanwhile.
    kernels: what its kernels do.
    values: NumPy arrays, by number of the argument, where it matters for the
      time that the program takes what they are.
  """

  name: str
  function: Callable[..., Any]
  args: tuple[Any, ...]
  options: Mapping[str, Any] = {}
  while_trips: tuple[int, ...] = (1,)
  held: int = 0
  kernels: Kernels = {}
  values: Mapping[int, PyTree] = {}


class Plan(NamedTuple):
  """The programs of a row.

  Attributes:
    parts: in the order in which they run.
    mesh: to set while they are traced.
    memory: bytes per device of what can be told apart, by name.
    model_flops: what the model needs, over all devices.
    tokens: of one run.
    sampling: of the sampler's programs, what else a row says.
  """

  parts: list[Part]
  mesh: Mesh
  memory: dict[str, int]
  model_flops: float
  tokens: int
  sampling: "Sampling | None" = None


class Sampling(NamedTuple):
  """What a row of the sampler says besides.

  Attributes:
    steps: of a run.
    cached_positions: that the pages hold, over all replicas.
    live_positions: that a step's lanes attend to, over all replicas.
    least_bytes: per device and step, the weights and the keys and values that
      a step has to read.
  """

  steps: int
  cached_positions: int
  live_positions: int
  least_bytes: int


def forward_flops(
  model: ModelConfig, *, tokens: int, keys: float, logits: bool = True
) -> float:
  """What a forward pass needs: two per weight and token, and attention.

  Args:
    model: its sizes.
    tokens: how many are fed.
    keys: that a token attends, on average.
    logits: whether they are scored against the vocabulary.
  """
  sizes = model.sizes
  D, N, K, H, F = (sizes[dim] for dim in "DNKHF")
  layer = 2 * D * N * H + 2 * D * K * H + 3 * D * F
  weights = sizes["L"] * layer + (sizes["V"] * D if logits else 0)
  attention = sizes["L"] * 2 * N * H * keys
  return 2.0 * tokens * (weights + attention)


def device_bytes(tree: PyTree) -> int:
  """Bytes per device of abstract arrays, host memory left out."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if leaf.sharding.memory_kind in (None, "device")
  )


def abstract_weights(
  model: ModelConfig, mesh: Mesh, layout: str, dtype: str
) -> PyTree:
  """The weights as they lie in training or decoding."""
  params = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)),
    abstract_params(model),
  )
  return placed(params, param_shardings(model, mesh, layout))


def abstract_array(
  mesh: Mesh, dims: str, shape: tuple[int, ...], dtype: Any = jnp.int32
) -> jax.ShapeDtypeStruct:
  """An activation of decoding."""
  where = meshes.sharding(mesh, dims, meshes.ACTIVATIONS["decode"])
  return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def placed(tree: PyTree, shardings: PyTree) -> PyTree:
  """Abstract arrays, and where they lie."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
    shardings,
  )
