"""Device meshes, and the tables from dim letters to mesh axes.

In: axis sizes and strings of dim letters ("BTD"). Out: meshes, partition
specs, shardings and constraints. The tables below are the only mapping from
dims to mesh axes (MaxText: logical axis rules); they do not depend on the
model.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

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

# Dim letter → the mesh axes that split it; None for a dim that is not split.
Table = Mapping[str, str | tuple[str, ...] | None]

# Training splits weights over fsdp, context and tensor, and activations over
# sequences, positions and heads.
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
  "R": ("data", "fsdp"),
  "O": None,
  "Y": "tensor",
}

# Decoding holds a whole copy of the weights in each replica, split over its
# tensor axis. Sequences (B) and KV-cache pages (P) belong to one replica each.
PARAMS: Mapping[str, Table] = {
  "train": _TRAIN_PARAMS,
  "decode": {**_TRAIN_PARAMS, "D": None},
}
ACTIVATIONS: Mapping[str, Table] = {
  "train": _TRAIN_ACTIVATIONS,
  "decode": {**_TRAIN_ACTIVATIONS, "T": None},
}
# Residual stream between attention and feed-forward. Sequence parallelism
# (Korthikanti et al. 2022, arXiv 2205.05198): positions are split over the
# tensor axis too, which splits heads and ffn units elsewhere. The activations
# that are saved for the backward pass have this layout.
STREAMS: Mapping[str, Table] = {
  "train": {**_TRAIN_ACTIVATIONS, "T": ("context", "tensor")},
  "decode": ACTIVATIONS["decode"],
}


@dataclasses.dataclass(frozen=True)
class MeshSettings:
  """Axis sizes of the training mesh: the `mesh` section of an experiment.

  At most one size is -1: the devices that the other axes leave.

  Attributes:
    data: replicas of the weights; a batch's rows are split over it.
    fsdp: a batch's rows and the weights are split over it.
    context: positions and the weights are split over it.
    tensor: heads, ffn units and the vocabulary are split over it.
  """

  data: int
  fsdp: int
  context: int
  tensor: int

  def __post_init__(self):
    sizes = dataclasses.astuple(self)
    if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
      raise UsageError(
        f"mesh {self}: each size is 1 or more, and at most one is -1 (the rest)"
      )

  def __str__(self) -> str:
    return " × ".join(f"{axis}={getattr(self, axis)}" for axis in AXES)

  def fill(self, num_devices: int) -> "MeshSettings":
    """The same sizes with -1 replaced by what the other axes leave.

    Raises:
      UsageError: the sizes do not multiply to the number of devices.
    """
    sizes = dataclasses.astuple(self)
    given = math.prod(size for size in sizes if size != -1)
    if num_devices % given or (-1 not in sizes and given != num_devices):
      raise UsageError(
        f"mesh {self} asks for {given} devices, there are {num_devices}: choose"
        f" sizes that multiply to {num_devices}, or set one of them to -1"
      )
    filled = [num_devices // given if size == -1 else size for size in sizes]
    return MeshSettings(*filled)


def make_mesh(
  settings: MeshSettings, *, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Mesh with the axes AXES over all devices, or over the given ones.

  Args:
    settings: sizes of the axes.
    devices: of this machine or of a topology; all devices by default. If they
      are several TPU slices, each slice holds whole replicas of the weights:
      only the data axis crosses between slices.

  Raises:
    UsageError: the sizes do not multiply to the number of devices, or the
      slices do not divide `data`.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = dataclasses.astuple(settings.fill(len(devices)))
  return Mesh(_arrange(sizes, devices), AXES, (AxisType.Auto,) * len(AXES))


def replica_mesh(mesh: Mesh, *, tensor: int) -> Mesh:
  """The sampler's mesh: the same devices in the same order, as replicas.

  Args:
    mesh: the training mesh.
    tensor: devices of a replica, which hold one copy of the weights together.

  Returns:
    A mesh with data = number of devices / tensor, fsdp = context = 1.

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


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
  """Processes that share replicas, and therefore run the same dispatches.

  Attributes:
    index: number of the group that this process belongs to.
    count: number of groups.
    rank: index of this process in its group.
    size: number of processes in its group.
  """

  index: int
  count: int
  rank: int
  size: int


def process_group(replicas: Mesh) -> ProcessGroup:
  """The processes that this process shares its replicas with.

  Raises:
    UsageError: this process shares one replica with some processes and another
      replica with others.
  """
  groups = list(dict.fromkeys(_owners(replicas)))
  mine = [group for group in groups if jax.process_index() in group]
  if len(mine) != 1:
    raise UsageError(
      f"rollouts.tensor = {replicas.shape['tensor']} makes replicas of the"
      f" processes {[list(group) for group in mine]}, which overlap; choose a"
      f" divisor or a multiple of the {jax.local_device_count()} devices of a"
      " process, and a mesh that keeps these side by side"
    )
  return ProcessGroup(
    index=groups.index(mine[0]),
    count=len(groups),
    rank=mine[0].index(jax.process_index()),
    size=len(mine[0]),
  )


def local_mesh(replicas: Mesh) -> Mesh:
  """The replicas that have devices of this process; see `process_group`."""
  here = [jax.process_index() in owners for owners in _owners(replicas)]
  return Mesh(replicas.devices[here], AXES, replicas.axis_types)


def _owners(replicas: Mesh) -> list[tuple[int, ...]]:
  """Process indices of each replica's devices, ascending."""
  rows = replicas.devices.reshape(-1, replicas.shape["tensor"])
  return [
    tuple(sorted({device.process_index for device in row})) for row in rows
  ]


def put(tree: Any, where: NamedSharding) -> Any:
  """Host arrays, equal in all processes of the sharding, put on its devices.

  Needs no communication between the processes, unlike jax.device_put.
  """
  if where.is_fully_addressable:
    return jax.device_put(tree, where)
  return jax.tree.map(lambda x: _put_pieces(np.asarray(x), where), tree)


def put_flag(mesh: Mesh, flag: bool) -> jax.Array:
  """bool [devices]: on each device, the flag of the process that owns it."""
  where = NamedSharding(mesh, PartitionSpec(AXES))
  flags = np.full(mesh.size, flag)
  if where.is_fully_addressable:
    return jax.device_put(flags, where)
  return _put_pieces(flags, where)


def spec(dims: str, table: Table) -> PartitionSpec:
  """PartitionSpec of an array with these dims, one letter per dim.

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
  """NamedSharding of an array with these dims on a mesh; see `spec`."""
  return NamedSharding(mesh, spec(dims, table))


def constrain(x: jax.Array, dims: str, table: Table) -> jax.Array:
  """Constrains the sharding of x inside a jitted function.

  Raises:
    RuntimeError: no mesh is set (jax.set_mesh). A constraint that is silently
      not applied would cost memory unnoticed.
  """
  if x.ndim != len(dims):
    raise ValueError(f"dims {dims!r} do not name the shape {x.shape}")
  return jax.lax.with_sharding_constraint(x, spec(dims, table))


def axes_of(dim: str, table: Table) -> tuple[str, ...]:
  """Names of the mesh axes that split a dim."""
  part = table[dim]
  if part is None:
    return ()
  return (part,) if isinstance(part, str) else part


def num_shards(mesh: Mesh | AbstractMesh, dim: str, table: Table) -> int:
  """Number of shards that a mesh splits a dim into."""
  return math.prod(mesh.shape[axis] for axis in axes_of(dim, table))


def _put_pieces(x: np.ndarray, where: NamedSharding) -> jax.Array:
  """As device_put, shard by shard: explicit transfers, which a guard allows."""
  pieces = where.addressable_devices_indices_map(x.shape)
  return jax.make_array_from_single_device_arrays(
    x.shape,
    where,
    [jax.device_put(x[index], device) for device, index in pieces.items()],
  )


def _arrange(
  sizes: tuple[int, ...], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Device array of the mesh; axes that communicate most get close devices."""
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
  """Number of a TPU device's slice; 0 for devices that have no slices."""
  return getattr(device, "slice_index", 0) if device.platform == "tpu" else 0
