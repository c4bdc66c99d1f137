"""Meshes, and which mesh axis carries which dim.

In: axis sizes and strings of dim letters ("BTD"). Out: meshes, partition
specs, shardings and constraints. The tables below are the only place where a
letter meets a mesh axis; this module never looks at a model.
"""

import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from kimina_jax.types import UsageError

AXES = ("data", "fsdp", "context", "tensor")

Table = Mapping[str, str | tuple[str, ...] | None]

# Training splits weights over fsdp and tensor, and activations over rows,
# positions and heads.
_TRAIN_PARAMS: Table = {
  "L": None,
  "D": "fsdp",
  "N": "tensor",
  "K": "tensor",
  "H": None,
  "F": "tensor",
  "V": "tensor",
}
_TRAIN_ACTIVATIONS: Table = {
  "B": ("data", "fsdp"),
  "T": "context",
  "S": None,
  "L": None,
  "D": None,
  "N": "tensor",
  "K": "tensor",
  "G": None,
  "H": None,
  "F": "tensor",
  "V": "tensor",
}

# Decoding keeps whole weights per tensor group, and its rows are slots, whose
# one position is not split.
PARAMS: Mapping[str, Table] = {
  "train": _TRAIN_PARAMS,
  "decode": {**_TRAIN_PARAMS, "D": None},
}
ACTIVATIONS: Mapping[str, Table] = {
  "train": _TRAIN_ACTIVATIONS,
  "decode": {**_TRAIN_ACTIVATIONS, "T": None},
}


def make_mesh(
  *,
  data: int,
  fsdp: int,
  context: int,
  tensor: int,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """A mesh with axes AXES; at most one size is -1 and takes what is left.

  Args:
    data: replicas of the weights; rows are split over it.
    fsdp: rows and weights are split over it.
    context: positions are split over it.
    tensor: heads, ffn and vocabulary are split over it.
    devices: what to use; all devices by default.

  Raises:
    UsageError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = _fill((data, fsdp, context, tensor), len(devices))
  return jax.make_mesh(
    sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
  )


def spec(dims: str, table: Table) -> PartitionSpec:
  """The partition of an array with these dims, one letter per dim.

  Raises:
    ValueError: a letter is not in the table, or two share a mesh axis.
  """
  unknown = sorted(set(dims) - set(table))
  if unknown:
    raise ValueError(f"dims {dims!r}: no letter {unknown} in the table")
  parts = [table[dim] for dim in dims]
  axes = [axis for part in parts for axis in _axes(part)]
  if len(set(axes)) < len(axes):
    raise ValueError(f"dims {dims!r}: two of them share a mesh axis: {parts}")
  return PartitionSpec(*parts)


def sharding(mesh: Mesh, dims: str, table: Table) -> NamedSharding:
  """`spec` on a mesh."""
  return NamedSharding(mesh, spec(dims, table))


def constrain(x: jax.Array, dims: str, table: Table) -> jax.Array:
  """Pins the layout of x inside a program, in the mesh of `jax.set_mesh`.

  Raises:
    RuntimeError: no mesh is set; a layout that is silently not applied would
      cost memory where nobody looks.
  """
  if x.ndim != len(dims):
    raise ValueError(f"dims {dims!r} do not name the shape {x.shape}")
  return jax.lax.with_sharding_constraint(x, spec(dims, table))


def num_shards(mesh: Mesh, dim: str, table: Table) -> int:
  """Into how many pieces the mesh cuts a dim."""
  return math.prod(mesh.shape[axis] for axis in _axes(table[dim]))


def _axes(part: str | tuple[str, ...] | None) -> tuple[str, ...]:
  if part is None:
    return ()
  return (part,) if isinstance(part, str) else part


def _fill(sizes: tuple[int, ...], num_devices: int) -> tuple[int, ...]:
  """Replaces -1 by what is left of the devices."""
  text = " × ".join(f"{a}={n}" for a, n in zip(AXES, sizes, strict=True))
  if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
    raise UsageError(
      f"mesh {text}: each size is 1 or more, and at most one is -1 (the rest)"
    )
  given = math.prod(size for size in sizes if size != -1)
  if num_devices % given or (-1 not in sizes and given != num_devices):
    raise UsageError(
      f"mesh {text} asks for {given} devices, there are {num_devices}: choose"
      f" sizes that multiply to {num_devices}, or set one of them to -1"
    )
  return tuple(num_devices // given if s == -1 else s for s in sizes)
