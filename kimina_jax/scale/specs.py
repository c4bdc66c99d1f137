"""Inputs of a row: jitted programs with abstract arguments, and model sizes.

In: model sizes and meshes. Out: the records ProgramSpec and CasePrograms,
abstract arrays with the shardings of a run, and the FLOPs that a model needs.
No array is allocated.
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
from kimina_jax.model.ragged_kernel import KernelCost

PyTree = Any
# Costs of kernels whose work depends on the values of their operands (sequence
# lengths), not on the shapes alone: by prefix of the kernel's name, a function
# from the operands' shapes on one device to the work of a call.
KernelCosts = Mapping[str, Callable[[Sequence[tuple[int, ...]]], KernelCost]]


class ProgramSpec(NamedTuple):
  """One jitted program with abstract arguments.

  Attributes:
    name: of the program.
    function: jitted.
    args: abstract arguments.
    options: static keyword arguments.
    trip_counts: of loops without a static trip count, by the name of the
      `jax.named_scope` around them.
    held: bytes per device that are not among the arguments but stay allocated
      while the program runs.
    kernels: costs of its kernels.
    values: NumPy arrays, by number of the argument, for arguments whose values
      change how long the program takes.
  """

  name: str
  function: Any
  args: tuple[Any, ...]
  options: Mapping[str, Any] = {}
  trip_counts: Mapping[str, int] = {}
  held: int = 0
  kernels: KernelCosts = {}
  values: Mapping[int, PyTree] = {}


class CasePrograms(NamedTuple):
  """All programs of a case.

  Attributes:
    programs: in the order in which they run.
    mesh: to set while they are traced.
    memory: bytes per device by purpose ("parameters", "optimizer", …).
    model_flops: FLOPs that the model needs, over all devices, without
      recomputation.
    tokens: processed by one run of all programs.
    dispatch: what a row of the sampler's programs reports besides.
  """

  programs: list[ProgramSpec]
  mesh: Mesh
  memory: dict[str, int]
  model_flops: float
  tokens: int
  dispatch: "DispatchFacts | None" = None


class DispatchFacts(NamedTuple):
  """Sizes of a sampler's dispatch.

  Attributes:
    steps: decode steps of a dispatch.
    cached_positions: capacity of the KV cache, over all replicas.
    live_positions: positions that a step's slots attend to, over all replicas.
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
  """FLOPs of a forward pass: 2 per weight and token, and attention.

  Args:
    model: its sizes.
    tokens: number of tokens.
    keys: positions that a token attends to, on average.
    logits: whether the unembedding is included.
  """
  sizes = model.sizes
  D, N, K, H, F = (sizes[dim] for dim in "DNKHF")
  layer = 2 * D * N * H + 2 * D * K * H + 3 * D * F
  weights = sizes["L"] * layer + (sizes["V"] * D if logits else 0)
  attention = sizes["L"] * 2 * N * H * keys
  return 2.0 * tokens * (weights + attention)


def device_bytes(tree: PyTree) -> int:
  """Bytes per device of abstract arrays; arrays in host memory are left out."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if leaf.sharding.memory_kind in (None, "device")
  )


def abstract_weights(
  model: ModelConfig, mesh: Mesh, layout: str, dtype: str
) -> PyTree:
  """Abstract weights with the shardings of a layout, "train" or "decode"."""
  params = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)),
    abstract_params(model),
  )
  return with_shardings(params, param_shardings(model, mesh, layout))


def abstract_array(
  mesh: Mesh, dims: str, shape: tuple[int, ...], dtype: Any = jnp.int32
) -> jax.ShapeDtypeStruct:
  """An abstract activation with the sharding that decoding gives its dims."""
  where = meshes.sharding(mesh, dims, meshes.ACTIVATIONS["decode"])
  return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def with_shardings(tree: PyTree, shardings: PyTree) -> PyTree:
  """Abstract arrays with the given shardings."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
    shardings,
  )
