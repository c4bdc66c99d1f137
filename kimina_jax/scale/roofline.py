"""Roofline: the least time of a program by compute, HBM and each mesh axis.

In: FLOPs, HBM bytes and collectives of a program, the mesh and the chip. Out:
seconds per resource. No program is faster than its slowest resource at full
rate, so the largest of them is a lower bound; a real program also pays for
latencies, for kernels below their peak, and where resources do not overlap.
Nothing is measured.

Interconnect. Devices of a torus are joined by links of known rate in each of
two directions. A ring of n devices passes (n − 1)/n of an array through each
device for a gather or a scatter, twice that for an all-reduce; a torus dim that
closes into a ring is used in both directions, one that does not is a line,
whose end is fed by a single link. The links of all torus dims that a mesh axis
spans add up. Two mesh axes that share the links of a torus dim each count all
of them, which keeps the bound a lower bound.

`jax.experimental.roofline` (jax 0.10.2) does not replace this: it sees only the
collectives of a jaxpr, while those of training are inserted by GSPMD when the
program is compiled, and its HBM traffic is that of unfused operations.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kimina_jax.infra.chips import Chip
from kimina_jax.scale.traffic import Collective


class DevicePlace(NamedTuple):
  """Coordinates of a device.

  Attributes:
    coords: on the torus of its slice; last, the core of the chip.
    slice: index of its slice.
  """

  coords: tuple[int, ...]
  slice: int


def device_places(devices: Iterable[Any]) -> list[DevicePlace]:
  """Places of devices; one without coords gets a place of its own."""
  return [
    DevicePlace(
      (*getattr(d, "coords", (d.id,)), getattr(d, "core_on_chip", 0)),
      getattr(d, "slice_index", 0),
    )
    for d in devices
  ]


def bound_seconds(
  *,
  flops: float,
  hbm_bytes: float,
  collectives: Sequence[Collective],
  places: Sequence[DevicePlace],
  wraps: Sequence[bool],
  shape: Sequence[int],
  chip: Chip,
) -> dict[str, float]:
  """Least seconds by resource: "compute", "memory", and axes by name.

  Args:
    flops: over all devices.
    hbm_bytes: per device.
    collectives: of the program.
    places: of each device, in the mesh's flat order.
    wraps: whether each dim of the torus closes into a ring.
    shape: chips along each dim.
    chip: of all devices; without link rates collectives are not bounded.
  """
  times = {
    "compute": flops / len(places) / chip.peak_flops,
    "memory": hbm_bytes / chip.hbm_bytes_per_s,
  }
  if not chip.link_bytes_per_s:
    return times
  for collective in collectives:
    group = [places[position] for position in collective.group]
    each = _collective_seconds(collective, group, wraps, shape, chip)
    total = times.get(collective.axes, 0.0) + each * collective.times
    times[collective.axes] = total
  return times


def binding(times: Mapping[str, float]) -> tuple[str, float]:
  """The resource that takes longest, and its seconds."""
  name = max(times, key=lambda resource: times[resource])
  return name, times[name]


def _collective_seconds(
  collective: Collective,
  group: Sequence[DevicePlace],
  wraps: Sequence[bool],
  shape: Sequence[int],
  chip: Chip,
) -> float:
  slices = len({place.slice for place in group})
  inside = [place for place in group if place.slice == group[0].slice]
  time_s = 0.0
  if len(inside) > 1:
    crossings = _link_passes(collective.kind, _torus_dims(inside, wraps, shape))
    time_s = collective.num_bytes * crossings / chip.link_bytes_per_s
  if slices > 1:
    # What remains after the part within each slice.
    share = collective.num_bytes / len(inside)
    passes = _ring_passes(collective.kind, slices)
    time_s = max(time_s, share * passes / chip.network_bytes_per_s)
  return time_s


class _TorusDim(NamedTuple):
  """Devices of a group along a dim of the torus, and links per device."""

  extent: int
  links: int


def _torus_dims(
  group: Sequence[DevicePlace], wraps: Sequence[bool], shape: Sequence[int]
) -> list[_TorusDim]:
  coords = np.array([place.coords for place in group])
  dims = []
  for dim, column in enumerate(coords.T.tolist()):
    extent = len(set(column))
    closed = dim < len(wraps) and wraps[dim] and extent == shape[dim]
    if extent > 1:
      dims.append(_TorusDim(extent, 2 if closed else 1))
  return dims or [_TorusDim(len(group), 1)]


def _link_passes(kind: str, dims: Sequence[_TorusDim]) -> float:
  """Array sizes that cross the busiest link in one direction."""
  if kind == "collective-permute":
    # To one neighbour, while another permutation may go the other way.
    return 0.5
  if kind == "all-to-all":
    # Half of what one half has crosses the middle of the longest dim.
    return max(dim.extent / 4 / dim.links for dim in dims)
  size = math.prod(dim.extent for dim in dims)
  return _ring_passes(kind, size) / sum(dim.links for dim in dims)


def _ring_passes(kind: str, size: int) -> float:
  """Array sizes that pass through a device of a ring."""
  if kind == "all-to-all":
    return size / 4
  once = (size - 1) / size
  return 2 * once if kind == "all-reduce" else once
