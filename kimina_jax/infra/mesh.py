"""Meshes, and which mesh axis carries which dim.

In: axis sizes and strings of dim letters ("BTD"). Out: meshes, partition
specs, shardings and constraints. The tables below are the only place where a
letter meets a mesh axis; this module never looks at a model.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)

from kimina_jax.types import UsageError

AXES = ("data", "fsdp", "context", "tensor")

Table = Mapping[str, str | tuple[str, ...] | None]

# Training splits weights over fsdp, context and tensor, and activations over
# rows, positions and heads.
_TRAIN_PARAMS: Table = {
  "L": None,
  "D": ("fsdp", "context"),
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
  "P": ("data", "fsdp"),
  "C": "tensor",
}

# Decoding keeps whole weights per tensor group. Each of its rows is what one
# replica decodes, and each replica has pages (P) of its own for the keys and
# values (C) of its heads.
PARAMS: Mapping[str, Table] = {
  "train": _TRAIN_PARAMS,
  "decode": {**_TRAIN_PARAMS, "D": None},
}
ACTIVATIONS: Mapping[str, Table] = {
  "train": _TRAIN_ACTIVATIONS,
  "decode": {**_TRAIN_ACTIVATIONS, "T": None},
}
# The stream between attention and feed-forward, which treat every position by
# itself: split over all axes that otherwise split heads and units (Korthikanti
# et al. 2022, arXiv 2205.05198). What backward keeps of a layer lies so.
STREAMS: Mapping[str, Table] = {
  "train": {**_TRAIN_ACTIVATIONS, "T": ("context", "tensor")},
  "decode": ACTIVATIONS["decode"],
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
    context: positions and weights are split over it.
    tensor: heads, ffn and vocabulary are split over it.
    devices: what to use, of this machine or of a topology; all devices by
      default. Of several TPU slices, each holds whole replicas of the weights:
      only `data` crosses between slices.

  Raises:
    UsageError: the sizes do not multiply to the number of devices, or the
      slices do not divide `data`.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = _fill((data, fsdp, context, tensor), len(devices))
  return Mesh(_arrange(sizes, devices), AXES, (AxisType.Auto,) * len(AXES))


def replica_mesh(mesh: Mesh, *, tensor: int) -> Mesh:
  """The same devices in the same order, cut into replicas that decode.

  Args:
    mesh: of training.
    tensor: devices of a replica, which share one copy of the weights.

  Returns:
    A mesh of data = number of devices / tensor, fsdp 1, context 1, tensor.

  Raises:
    UsageError: tensor does not divide the devices.
  """
  if mesh.size % tensor:
    raise UsageError(
      f"rollouts.tensor = {tensor} devices per replica do not divide the "
      f"{mesh.size} devices of the mesh; choose a divisor of {mesh.size}"
    )
  devices = mesh.devices.reshape(-1, 1, 1, tensor)
  return Mesh(devices, AXES, mesh.axis_types)


class Group(NamedTuple):
  """Processes that share replicas, and work in step.

  Attributes:
    index: which group this process belongs to.
    count: number of groups.
    rank: this process's place in its group.
    size: processes of its group.
  """

  index: int
  count: int
  rank: int
  size: int


def replica_group(replicas: Mesh) -> Group:
  """The processes that this one shares its replicas with.

  Raises:
    UsageError: a process shares one replica with some and another with others.
  """
  groups = list(dict.fromkeys(_owners(replicas)))
  mine = [g for g in groups if jax.process_index() in g]
  if len(mine) != 1:
    raise UsageError(
      f"rollouts.tensor = {replicas.shape['tensor']} makes replicas of the"
      f" processes {[list(g) for g in mine]}, which overlap; choose a divisor"
      f" or a multiple of the {jax.local_device_count()} devices of a process,"
      " and a mesh that keeps these side by side"
    )
  rank = mine[0].index(jax.process_index())
  return Group(groups.index(mine[0]), len(groups), rank, len(mine[0]))


def local_mesh(replicas: Mesh) -> Mesh:
  """The replicas that this process takes part in; see `replica_group`."""
  here = [jax.process_index() in owners for owners in _owners(replicas)]
  return Mesh(replicas.devices[here], AXES, replicas.axis_types)


def _owners(replicas: Mesh) -> list[tuple[int, ...]]:
  """The processes of each replica."""
  rows = replicas.devices.reshape(-1, replicas.shape["tensor"])
  return [
    tuple(sorted({device.process_index for device in row})) for row in rows
  ]


def put(tree: Any, where: NamedSharding) -> Any:
  """Host arrays, the same in all processes of the sharding, onto its devices.

  Without a word between the processes, unlike jax.device_put.
  """
  if where.is_fully_addressable:
    return jax.device_put(tree, where)
  return jax.tree.map(lambda x: _put_pieces(np.asarray(x), where), tree)


def put_flag(mesh: Mesh, flag: bool) -> jax.Array:
  """bool [devices]: each process's own flag on each of its devices."""
  where = NamedSharding(mesh, PartitionSpec(AXES))
  flags = np.full(mesh.size, flag)
  if where.is_fully_addressable:
    return jax.device_put(flags, where)
  return _put_pieces(flags, where)


def spec(dims: str, table: Table) -> PartitionSpec:
  """The partition of an array with these dims, one letter per dim.

  Raises:
    ValueError: a letter is not in the table, or two share a mesh axis.
  """
  unknown = sorted(set(dims) - set(table))
  if unknown:
    raise ValueError(f"dims {dims!r}: no letter {unknown} in the table")
  parts = [table[dim] for dim in dims]
  axes = [axis for dim in dims for axis in axes_of(dim, table)]
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


def axes_of(dim: str, table: Table) -> tuple[str, ...]:
  """The mesh axes that split a dim."""
  part = table[dim]
  if part is None:
    return ()
  return (part,) if isinstance(part, str) else part


def num_shards(mesh: Mesh | AbstractMesh, dim: str, table: Table) -> int:
  """Into how many pieces the mesh cuts a dim."""
  return math.prod(mesh.shape[axis] for axis in axes_of(dim, table))


def _put_pieces(x: np.ndarray, where: NamedSharding) -> jax.Array:
  """To each device here its own, which a transfer guard takes for meant."""
  pieces = where.addressable_devices_indices_map(x.shape)
  return jax.make_array_from_single_device_arrays(
    x.shape,
    where,
    [jax.device_put(x[index], device) for device, index in pieces.items()],
  )


def _arrange(
  sizes: tuple[int, ...], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Puts devices that talk much next to each other."""
  slices = {_slice(device) for device in devices}
  if len(slices) == 1:
    return mesh_utils.create_device_mesh(
      sizes, devices, allow_split_physical_axes=True
    )
  data, *inner = sizes
  if data % len(slices):
    raise UsageError(
      f"mesh data={data} does not divide over {len(slices)} slices, and no"
      f" other axis may cross between them: set data to a multiple of"
      f" {len(slices)}"
    )
  return mesh_utils.create_hybrid_device_mesh(
    (data // len(slices), *inner),
    (len(slices), 1, 1, 1),
    devices,
    allow_split_physical_axes=True,
  )


def _slice(device: jax.Device) -> int:
  """Slices are a matter of TPU; a topology of one does not number it."""
  return getattr(device, "slice_index", 0) if device.platform == "tpu" else 0


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
