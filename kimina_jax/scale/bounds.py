"""The least time that a program can take: compute, memory, each mesh axis.

In: FLOPs, bytes and Transfers of a program, the mesh, the chip. Out: seconds
per resource. Nothing can be faster than its slowest resource at full rate, so
the longest of them bounds the program from below; a real one also waits for
latencies, for kernels below their peak, and where it does not overlap. Never
measures.

Devices of a torus talk over links of known rate, each in two directions at
once. A ring of n passes (n − 1)/n of an array through each device for a gather
or a scatter, twice that for an all-reduce; a dim that closes into a ring is
used both ways round, one that does not is a line, whose end is fed by a single
link. Dims that an axis spans add up. Two axes that share a dim's links are
each given all of them, which keeps the bound a bound.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kimina_jax.infra.chips import Chip
from kimina_jax.scale.collectives import Transfer


class Place(NamedTuple):
  """Where a device is.

  Attributes:
    coords: on the torus of its slice; of a chip of two devices, the core too.
    slice: number of its slice.
  """

  coords: tuple[int, ...]
  slice: int


def places(devices: Sequence[Any]) -> list[Place]:
  """Of devices in the mesh's flat order; without coords they are all apart."""
  return [
    Place(
      (*getattr(d, "coords", (d.id,)), getattr(d, "core_on_chip", 0)),
      getattr(d, "slice_index", 0),
    )
    for d in devices
  ]


def seconds(
  *,
  flops: float,
  hbm_bytes: float,
  transfers: Sequence[Transfer],
  where: Sequence[Place],
  wraps: Sequence[bool],
  shape: Sequence[int],
  chip: Chip,
) -> dict[str, float]:
  """Least seconds by resource: "compute", "memory", and axes by name.

  Args:
    flops: over all devices.
    hbm_bytes: per device.
    transfers: of the program.
    where: of each device, in the mesh's flat order.
    wraps: whether each dim of the torus closes.
    shape: chips along each dim.
    chip: what the devices are; one without links bounds no transfer.
  """
  times = {
    "compute": flops / len(where) / chip.peak_flops,
    "memory": hbm_bytes / chip.hbm_bytes_per_s,
  }
  if not chip.link_bytes_per_s:
    return times
  for transfer in transfers:
    group = [where[position] for position in transfer.group]
    each = _transfer_seconds(transfer, group, wraps, shape, chip)
    total = times.get(transfer.axes, 0.0) + each * transfer.times
    times[transfer.axes] = total
  return times


def binding(times: Mapping[str, float]) -> tuple[str, float]:
  """The resource that takes longest, and how long."""
  name = max(times, key=lambda resource: times[resource])
  return name, times[name]


def _transfer_seconds(
  transfer: Transfer,
  group: Sequence[Place],
  wraps: Sequence[bool],
  shape: Sequence[int],
  chip: Chip,
) -> float:
  slices = len({place.slice for place in group})
  inside = [place for place in group if place.slice == group[0].slice]
  time_s = 0.0
  if len(inside) > 1:
    crossings = _crossings(transfer.kind, _dims(inside, wraps, shape))
    time_s = transfer.num_bytes * crossings / chip.link_bytes_per_s
  if slices > 1:
    # What is left after each slice has done its part among itself.
    share = transfer.num_bytes / len(inside)
    passes = _passes(transfer.kind, slices)
    time_s = max(time_s, share * passes / chip.network_bytes_per_s)
  return time_s


class _Dim(NamedTuple):
  """A dim of the torus that a group spans, and the links it has there."""

  extent: int
  links: int


def _dims(
  group: Sequence[Place], wraps: Sequence[bool], shape: Sequence[int]
) -> list[_Dim]:
  coords = np.array([place.coords for place in group])
  dims = []
  for dim, column in enumerate(coords.T.tolist()):
    extent = len(set(column))
    closed = dim < len(wraps) and wraps[dim] and extent == shape[dim]
    if extent > 1:
      dims.append(_Dim(extent, 2 if closed else 1))
  return dims or [_Dim(len(group), 1)]


def _crossings(kind: str, dims: Sequence[_Dim]) -> float:
  """Times that the array crosses the busiest link, one way."""
  if kind == "collective-permute":
    # To one neighbour, while another permutation may go the other way.
    return 0.5
  if kind == "all-to-all":
    # Half of what one half has crosses the middle of the longest dim.
    return max(dim.extent / 4 / dim.links for dim in dims)
  size = math.prod(dim.extent for dim in dims)
  return _passes(kind, size) / sum(dim.links for dim in dims)


def _passes(kind: str, size: int) -> float:
  """How often the array passes through a device of a ring."""
  if kind == "all-to-all":
    return size / 4
  once = (size - 1) / size
  return 2 * once if kind == "all-reduce" else once
