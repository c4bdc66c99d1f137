"""Bytes that a compiled program moves: collectives by mesh axis, and HBM.

In: a parsed HLO module (hlo.py) and the mesh it was compiled for. Out: the
collectives with bytes per device and the mesh axes that they cross; and an
estimate of the bytes read from and written to HBM per device and run. How long
that takes is roofline.py's.

Collectives. The compiler writes one collective in several ways. An asynchronous
one stands in a chain of fusions, under one channel id and chain id, and counts
once per loop body; the channel id alone may be that of a whole shard_map. A
reduce-scatter may be a fusion named `all-reduce-scatter`. In windowed matrix
products gathers and scatters become permutations, which are counted as such.

HBM. Each instruction outside a fusion reads its operands and writes its
results, unless the compiler keeps them in on-chip memory; a fusion that slices
an operand reads the slice, and one that updates or scatters into a buffer in
place writes the update. Where an update cannot be in place, the compiler has
inserted a copy, which counts as one. Not seen are padding of layouts, and
re-reads of blocks inside a matrix product or a kernel; on CPU and GPU, caches
serve part of the traffic. A kernel that reads parts of an operand at computed
places, as ragged paged attention reads pages of the KV pool, is counted by its
KernelCosts; that operand is its largest one.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kimina_jax.scale import hlo
from kimina_jax.scale.specs import KernelCosts

COLLECTIVE_KINDS = (
  "all-gather",
  "reduce-scatter",
  "all-reduce",
  "all-to-all",
  "collective-permute",
)

# Instructions without HBM traffic: they name a value, or start something that
# is counted where it ends.
_NO_TRAFFIC = {
  "parameter",
  "constant",
  "tuple",
  "get-tuple-element",
  "bitcast",
  "while",
  "conditional",
  "call",
  "after-all",
  "partition-id",
  "replica-id",
  "opt-barrier",
  "iota",
  "domain",
  "async-update",
  "",
}
_SLICES = ("dynamic-slice", "slice", "gather")
# Updates in place; the number of the operand that is the update.
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}

# A computation's instructions by name.
Instructions = Mapping[str, hlo.Instruction]


class Collective(NamedTuple):
  """A collective operation of a program.

  Attributes:
    kind: of COLLECTIVE_KINDS.
    axes: mesh axes that its groups span, joined by "+".
    num_bytes: size of the whole array per device: of the result of a gather,
      of the operand of a reduction, an exchange or a permutation.
    times: executions per run of the program.
    group: positions in the mesh's flat order of the devices of the first
      replica group.
  """

  kind: str
  axes: str
  num_bytes: int
  times: int
  group: tuple[int, ...]


# ---- collectives


def find_collectives(
  module: hlo.Module,
  mesh_shape: dict[str, int],
  *,
  trip_counts: Mapping[str, int] | None = None,
) -> list[Collective]:
  """Every collective of a program, once.

  Args:
    module: the program.
    mesh_shape: axis name → size, in the mesh's order.
    trip_counts: see hlo.executions.
  """
  seen: set[tuple] = set()
  found: list[Collective] = []
  for execution in hlo.executions(module, trip_counts=trip_counts):
    for line in module.computations[execution.computation]:
      kind = line.op.removesuffix("-start")
      if kind not in COLLECTIVE_KINDS:
        continue
      key = (execution.scope, kind, _collective_identity(line))
      if key in seen:
        continue
      seen.add(key)
      group = _first_group(line, kind, math.prod(mesh_shape.values()))
      if len(group) < 2:
        continue
      if execution.computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"
        size = sum(array.num_bytes for array in line.arrays)
      else:
        size = _collective_bytes(line, kind, len(group))
      axes = _group_axes(group, mesh_shape)
      found.append(Collective(kind, axes, size, execution.times, group))
  return found


def bytes_per_axis(
  collectives: Iterable[Collective],
) -> dict[str, dict[str, int]]:
  """Bytes per device by mesh axes, then by kind of collective."""
  sums: dict[str, dict[str, int]] = {}
  for collective in collectives:
    kinds = sums.setdefault(collective.axes, {})
    size = collective.num_bytes * collective.times
    kinds[collective.kind] = kinds.get(collective.kind, 0) + size
  return sums


def replica_groups(
  text: str, num_devices: int
) -> np.ndarray | list[tuple[int, ...]]:
  """The replica groups of an instruction, as rows of device positions.

  HLO has three notations: `{{0,1},{2,3}}`, `[2,2]<=[2,2]T(1,0)` (positions
  counted in the right shape, transposed, and read in the left shape) and
  `mesh['a'=2,'b'=2] {'a'}` (the named axes of a grid of positions).
  """
  named = re.match(r"\s*mesh\[([^\]]*)\]\s*(?:\{([^}]*)\})?", text)
  if named:
    return _named_groups(named[1], named[2])
  iota = re.match(r"\s*\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
  if iota:
    shape, grid, order = (_ints(part or "") for part in iota.groups())
    ids = np.arange(math.prod(grid)).reshape(grid)
    return (ids.transpose(order) if order else ids).reshape(shape)
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


def _collective_identity(line: hlo.Instruction) -> tuple[str, ...]:
  """Equal for all instructions that belong to one collective."""
  channel = re.search(r"channel_id=(\d+)", line.attributes)
  chain = re.search(r'chain_id="(\d+)"', line.attributes)
  if not (channel and chain):
    return (line.name,)
  return channel[1], chain[1]


def _first_group(
  line: hlo.Instruction, kind: str, num_devices: int
) -> tuple[int, ...]:
  """Device positions of the first group; of a permutation, the first cycle."""
  if kind == "collective-permute":
    pairs = re.search(r"source_target_pairs=(\{.*?\}\})", line.attributes)
    targets: dict[int, int] = {}
    for pair in re.findall(r"\{(\d+,\d+)\}", pairs[1] if pairs else ""):
      source, target = _ints(pair)
      if source != target:
        targets[source] = target
    return _first_cycle(targets)
  groups = re.search(r"replica_groups=(.*)", line.attributes)
  text = groups[1] if groups else ""
  return tuple(int(i) for i in replica_groups(text, num_devices)[0])


def _first_cycle(targets: dict[int, int]) -> tuple[int, ...]:
  """Positions reached from the first source by following the permutation."""
  if not targets:
    return ()
  position = min(targets)
  path = [position]
  while position in targets and targets[position] not in path:
    position = targets[position]
    path.append(position)
  return tuple(path)


def _group_axes(group: Sequence[int], mesh_shape: dict[str, int]) -> str:
  """The mesh axes along which the positions of a group differ."""
  coordinates = np.unravel_index(list(group), tuple(mesh_shape.values()))
  names = (
    name
    for name, column in zip(mesh_shape, coordinates, strict=True)
    if len(set(column.tolist())) > 1
  )
  return "+".join(names)


def _collective_bytes(line: hlo.Instruction, kind: str, group_size: int) -> int:
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


# ---- HBM


def hbm_bytes(
  module: hlo.Module,
  *,
  trip_counts: Mapping[str, int] | None = None,
  kernels: KernelCosts | None = None,
) -> int:
  """Bytes of HBM traffic per device and run of the program.

  Args:
    module: the program.
    trip_counts: see hlo.executions.
    kernels: costs of kernels that read parts of an operand.
  """
  computations = {
    name: {line.name: line for line in lines}
    for name, lines in module.computations.items()
  }
  return sum(
    execution.times
    * _instruction_bytes(
      line, computations[execution.computation], computations, kernels or {}
    )
    for execution in hlo.executions(module, trip_counts=trip_counts)
    if not execution.fused
    for line in module.computations[execution.computation]
  )


def _instruction_bytes(
  line: hlo.Instruction,
  siblings: Instructions,
  computations: Mapping[str, Instructions],
  kernels: KernelCosts,
) -> int:
  op = line.op
  if op in _NO_TRAFFIC or op.endswith("-done"):
    return 0
  operands = [siblings[name].type for name in line.operands if name in siblings]
  if op == "fusion":
    return _fusion_bytes(line, operands, computations)
  if op in _SLICES:
    return 2 * _hbm_size(line.type)
  if op == "dynamic-update-slice":
    return 2 * _hbm_size(operands[1])
  if op == "scatter":
    return sum(map(_hbm_size, operands[1:])) + _hbm_size(operands[-1])
  if op == "custom-call":
    for name, cost in kernels.items():
      if line.name.startswith(name):
        return _kernel_bytes(line, operands, cost)
  if op in ("copy-start", "slice-start", "dynamic-slice-start"):
    return _copied_bytes(line)
  if op.removesuffix("-start") in COLLECTIVE_KINDS:
    return _hbm_size(line.type)
  return _hbm_size(line.type) + sum(map(_hbm_size, operands))


def _kernel_bytes(line: hlo.Instruction, operands: list[str], cost: Any) -> int:
  """The kernel's own cost, and all operands but the largest."""
  arrays = [hlo.arrays(operand)[0] for operand in operands]
  sizes = [array.num_bytes for array in arrays if not array.space]
  largest = max(array.num_bytes for array in arrays)
  read = cost([array.shape for array in arrays]).num_bytes
  return read + sum(sizes) - largest + _hbm_size(line.type)


def _copied_bytes(line: hlo.Instruction) -> int:
  """A copy to or from on-chip memory: the smaller array, at each end."""
  ends = [array for array in line.arrays if len(array.shape)][:2]
  size = min((array.num_bytes for array in ends), default=0)
  return sum(size for array in ends if not array.space)


def _fusion_bytes(
  line: hlo.Instruction,
  operands: list[str],
  computations: Mapping[str, Instructions],
) -> int:
  fused = computations[line.called("calls")[0]]
  names = _parameters(fused)
  read = sum(
    _read_bytes(names[index], type_text, fused, computations)
    for index, type_text in enumerate(operands)
    if index in names
  )
  root = next(entry for entry in fused.values() if entry.is_root)
  results = [fused[n] for n in root.operands] if root.op == "tuple" else [root]
  return read + sum(_written_bytes(result, fused) for result in results)


def _parameters(fused: Instructions) -> dict[int, str]:
  return {
    int(entry.operands[0]): entry.name
    for entry in fused.values()
    if entry.op == "parameter"
  }


def _read_bytes(
  name: str,
  type_text: str,
  fused: Instructions,
  computations: Mapping[str, Instructions],
) -> int:
  """Bytes that a fusion reads of one operand, by how it uses it."""
  total = 0
  for user in fused.values():
    if name not in user.operands:
      continue
    if user.op == "bitcast":
      total += _read_bytes(user.name, type_text, fused, computations)
    elif user.op == "fusion":
      nested = computations[user.called("calls")[0]]
      parameter = _parameters(nested)[user.operands.index(name)]
      total += _read_bytes(parameter, type_text, nested, computations)
      if _is_root(parameter, nested):
        total += _read_bytes(user.name, type_text, fused, computations)
    elif user.op in _SLICES:
      total += _hbm_size(type_text) and _size(user.type)
    elif user.op in _UPDATES and user.operands[0] == name:
      continue
    elif user.op == "tuple" or user.op in COLLECTIVE_KINDS:
      continue
    elif user.op == "custom-call" and "AsyncCollective" in user.attributes:
      continue
    else:
      return _hbm_size(type_text)
  return min(total, _hbm_size(type_text))


def _is_root(name: str, fused: Instructions) -> bool:
  """Whether a value is the result, reshaped perhaps."""
  users = [entry for entry in fused.values() if name in entry.operands]
  return fused[name].is_root or any(
    user.op == "bitcast" and _is_root(user.name, fused) for user in users
  )


def _written_bytes(result: hlo.Instruction, fused: Instructions) -> int:
  while result.op == "bitcast":
    result = fused[result.operands[0]]
  if result.op in _UPDATES:
    update = result.operands[_UPDATES[result.op]]
    return _hbm_size(result.type) and _size(fused[update].type)
  if result.op == "parameter" or "AsyncCollective" in result.attributes:
    return 0
  return _hbm_size(result.type)


def _hbm_size(type_text: str) -> int:
  """Bytes of a type's arrays that are in HBM."""
  return sum(a.num_bytes for a in hlo.arrays(type_text) if not a.space)


def _size(type_text: str) -> int:
  return sum(array.num_bytes for array in hlo.arrays(type_text))
