"""What the devices of a mesh say to each other, by mesh axis.

In: a compiled program and the mesh it was compiled for. Out: Transfers: bytes
per device and run of the program, and the axes they travel along. Never looks
at a link: how long a transfer takes is bounds.py's.

The compiler writes one collective in several ways. An asynchronous one stands
in a chain of fusions, under one channel and number of the chain, and counts
once per loop body; the channel alone may be that of a whole shard_map. A
reduce-scatter may be a fusion named `all-reduce-scatter`. In windowed matrix
products gathers and scatters become permutations, which are counted as such.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kimina_jax.scale import hlo

KINDS = (
  "all-gather",
  "reduce-scatter",
  "all-reduce",
  "all-to-all",
  "collective-permute",
)


class Transfer(NamedTuple):
  """A collective of a program.

  Attributes:
    kind: of KINDS.
    axes: mesh axes that its groups span, joined by "+".
    num_bytes: the whole array per device: what is gathered, or what goes into
      a reduction, an exchange or a permutation.
    times: runs per run of the program.
    group: positions in the mesh's flat order that take part together, those
      of the first group.
  """

  kind: str
  axes: str
  num_bytes: int
  times: int
  group: tuple[int, ...]


def transfers(
  module: hlo.Module,
  mesh_shape: dict[str, int],
  *,
  while_trips: tuple[int, ...] = (1,),
) -> list[Transfer]:
  """Every collective of a program, once.

  Args:
    module: of `compiled.as_text()`.
    mesh_shape: axis name → size, in the mesh's order.
    while_trips: see hlo.visits.
  """
  seen, found = set(), []
  for visit in hlo.visits(module, while_trips=while_trips):
    for line in module.computations[visit.computation]:
      kind = line.op.removesuffix("-start")
      if kind not in KINDS:
        continue
      key = (visit.scope, kind, _identity(line))
      if key in seen:
        continue
      seen.add(key)
      group = _group(line, kind, math.prod(mesh_shape.values()))
      if len(group) < 2:
        continue
      if visit.computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"
        size = sum(array.num_bytes for array in line.arrays)
      else:
        size = _num_bytes(line, kind, len(group))
      axes = _axes(group, mesh_shape)
      found.append(Transfer(kind, axes, size, visit.times, group))
  return found


def totals(found: Iterable[Transfer]) -> dict[str, dict[str, int]]:
  """Bytes per device by axes, then by kind."""
  sums: dict[str, dict[str, int]] = {}
  for transfer in found:
    kinds = sums.setdefault(transfer.axes, {})
    size = transfer.num_bytes * transfer.times
    kinds[transfer.kind] = kinds.get(transfer.kind, 0) + size
  return sums


def _identity(line: hlo.Instruction) -> tuple[str, ...]:
  """What the repetitions of a collective have in common."""
  channel = re.search(r"channel_id=(\d+)", line.attributes)
  chain = re.search(r'chain_id="(\d+)"', line.attributes)
  if not (channel and chain):
    return (line.name,)
  return channel[1], chain[1]


def replica_groups(text: str, num_devices: int) -> np.ndarray | list:
  """The groups of an instruction, as rows of positions.

  Three spellings: `{{0,1},{2,3}}`, `[2,2]<=[2,2]T(1,0)` (positions counted in
  the right shape, turned, and read in the left one) and
  `mesh['a'=2,'b'=2] {'a'}` (the named axes of a grid of positions).
  """
  spelled = re.match(r"\s*mesh\[([^\]]*)\]\s*(?:\{([^}]*)\})?", text)
  if spelled:
    return _named_groups(spelled[1], spelled[2])
  spelled = re.match(r"\s*\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
  if spelled:
    shape, grid, turn = (_ints(part or "") for part in spelled.groups())
    ids = np.arange(math.prod(grid)).reshape(grid)
    return (ids.transpose(turn) if turn else ids).reshape(shape)
  rows = re.findall(r"\{([\d,]+)\}", text[: text.find("}}") + 2])
  if not rows:
    return np.arange(num_devices)[None]
  return [_ints(row) for row in rows]


def _named_groups(sizes: str, chosen: str | None) -> np.ndarray:
  axes = dict(re.findall(r"'?([\w.\-]+)'?=(\d+)", sizes))
  grid = [int(size) for size in axes.values()]
  ids = np.arange(math.prod(grid)).reshape(grid)
  if chosen is None:
    return ids.reshape(1, -1)
  names = list(axes)
  inner = []
  for name, part in re.findall(r"'([\w.\-]+)'(?::\((\d+)\)\d+)?", chosen):
    if part:
      raise ValueError(f"replica groups over a part of an axis: {chosen}")
    inner.append(names.index(name))
  outer = [index for index in range(len(grid)) if index not in inner]
  width = math.prod(grid[index] for index in inner)
  return ids.transpose(outer + inner).reshape(-1, width)


def _group(
  line: hlo.Instruction, kind: str, num_devices: int
) -> tuple[int, ...]:
  """The positions of the first group; of a permutation, the first cycle."""
  if kind == "collective-permute":
    pairs = re.search(r"source_target_pairs=(\{.*?\}\})", line.attributes)
    steps = dict(map(_ints, re.findall(r"\{(\d+,\d+)\}", pairs[1])))
    return _reach({a: b for a, b in steps.items() if a != b})
  groups = re.search(r"replica_groups=(.*)", line.attributes)
  text = groups[1] if groups else ""
  return tuple(int(i) for i in replica_groups(text, num_devices)[0])


def _reach(steps: dict[int, int]) -> tuple[int, ...]:
  """Positions that the first source reaches, step after step."""
  if not steps:
    return ()
  at = min(steps)
  path = [at]
  while at in steps and steps[at] not in path:
    at = steps[at]
    path.append(at)
  return tuple(path)


def _axes(group: Sequence[int], mesh_shape: dict[str, int]) -> str:
  """The axes along which the positions of a group differ."""
  places = np.unravel_index(list(group), tuple(mesh_shape.values()))
  names = (
    name
    for name, place in zip(mesh_shape, places, strict=True)
    if len(set(place.tolist())) > 1
  )
  return "+".join(names)


def _num_bytes(line: hlo.Instruction, kind: str, group_size: int) -> int:
  arrays = [array for array in line.arrays if array.dtype != "token"]
  if line.op == "collective-permute-start":
    arrays = arrays[:1]
  elif line.op == "all-gather-start":
    # Operands, then results.
    arrays = arrays[len(arrays) // 2 :]
  size = sum(array.num_bytes for array in arrays)
  return size * group_size if kind == "reduce-scatter" else size


def _ints(text: str) -> tuple[int, ...]:
  return tuple(int(part) for part in text.split(",") if part)
