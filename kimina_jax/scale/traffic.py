"""What a compiled program reads from and writes to main memory: an estimate.

In: a module. Out: bytes per device and run. Each instruction outside a fusion
reads its operands and writes its results, unless the compiler keeps them in
on-chip memory; a fusion that slices an operand reads the slice, and one that
updates or scatters into a buffer in place writes the update. Where it cannot
be in place the compiler writes a copy, which counts as one. Padding of layouts
and re-reads of blocks inside a matrix product or a kernel are not seen. On CPU
and GPU caches serve part of it.

A kernel that finds its own way through an operand, as ragged paged attention
does through the pages of all layers, reads of it what the caller says that it
does: the pages of its sequences in one layer. That operand is its largest one.
"""

from collections.abc import Mapping
from typing import Any

from kimina_jax.scale import hlo
from kimina_jax.scale.collectives import KINDS
from kimina_jax.scale.parts import Kernels

# These name a value or start something that is counted where it ends up.
_FREE = {
  *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
  *("while", "conditional", "call", "after-all", "partition-id", "replica-id"),
  *("opt-barrier", "iota", "domain", "async-update", ""),
}
_SLICES = ("dynamic-slice", "slice", "gather")
# In place; which operand is the update.
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}

Lines = Mapping[str, hlo.Instruction]


def hbm_bytes(
  module: hlo.Module,
  *,
  while_trips: tuple[int, ...] = (1,),
  kernels: Kernels | None = None,
) -> int:
  """Bytes of main memory per device that a run of the program moves.

  Args:
    module: the program.
    while_trips: see hlo.visits.
    kernels: those that find their own way.
  """
  tables = {
    name: {line.name: line for line in lines}
    for name, lines in module.computations.items()
  }
  return sum(
    visit.times * _moved(line, tables[visit.computation], tables, kernels or {})
    for visit in hlo.visits(module, while_trips=while_trips)
    if not visit.fused
    for line in module.computations[visit.computation]
  )


def _moved(
  line: hlo.Instruction,
  table: Lines,
  tables: Mapping[str, Lines],
  kernels: Kernels,
) -> int:
  op = line.op
  if op in _FREE or op.endswith("-done"):
    return 0
  operands = [table[name].type for name in line.operands if name in table]
  if op == "fusion":
    return _fusion(line, operands, tables)
  if op in _SLICES:
    return 2 * _main(line.type)
  if op == "dynamic-update-slice":
    return 2 * _main(operands[1])
  if op == "scatter":
    return sum(map(_main, operands[1:])) + _main(operands[-1])
  if op == "custom-call":
    for name, work in kernels.items():
      if line.name.startswith(name):
        return _kernel(line, operands, work)
  if op in ("copy-start", "slice-start", "dynamic-slice-start"):
    return _copied(line)
  if op.removesuffix("-start") in KINDS:
    return _main(line.type)
  return _main(line.type) + sum(map(_main, operands))


def _kernel(line: hlo.Instruction, operands: list[str], work: Any) -> int:
  """What the caller says, and all operands but the largest."""
  arrays = [hlo.arrays(operand)[0] for operand in operands]
  sizes = [array.num_bytes for array in arrays if not array.space]
  largest = max(array.num_bytes for array in arrays)
  read = work([array.shape for array in arrays]).num_bytes
  return read + sum(sizes) - largest + _main(line.type)


def _copied(line: hlo.Instruction) -> int:
  """A copy to or from on-chip memory: the smaller array, at each end."""
  ends = [array for array in line.arrays if len(array.shape)][:2]
  size = min((array.num_bytes for array in ends), default=0)
  return sum(size for array in ends if not array.space)


def _fusion(
  line: hlo.Instruction, operands: list[str], tables: Mapping[str, Lines]
) -> int:
  inner = tables[line.called("calls")[0]]
  names = _parameters(inner)
  read = sum(
    _read(names[index], type_text, inner, tables)
    for index, type_text in enumerate(operands)
    if index in names
  )
  root = next(entry for entry in inner.values() if entry.is_root)
  parts = [inner[n] for n in root.operands] if root.op == "tuple" else [root]
  return read + sum(_written(part, inner) for part in parts)


def _parameters(inner: Lines) -> dict[int, str]:
  return {
    int(entry.operands[0]): entry.name
    for entry in inner.values()
    if entry.op == "parameter"
  }


def _read(
  name: str, type_text: str, inner: Lines, tables: Mapping[str, Lines]
) -> int:
  """Bytes that a fusion reads of one operand, by how it uses it."""
  total = 0
  for user in inner.values():
    if name not in user.operands:
      continue
    if user.op == "bitcast":
      total += _read(user.name, type_text, inner, tables)
    elif user.op == "fusion":
      nested = tables[user.called("calls")[0]]
      parameter = _parameters(nested)[user.operands.index(name)]
      total += _read(parameter, type_text, nested, tables)
      if _is_root(parameter, nested):
        total += _read(user.name, type_text, inner, tables)
    elif user.op in _SLICES:
      total += _main(type_text) and _size(user.type)
    elif user.op in _UPDATES and user.operands[0] == name:
      continue
    elif user.op == "tuple" or user.op in KINDS:
      continue
    elif user.op == "custom-call" and "AsyncCollective" in user.attributes:
      continue
    else:
      return _main(type_text)
  return min(total, _main(type_text))


def _is_root(name: str, inner: Lines) -> bool:
  """Whether a value is the result, but for its shape."""
  users = [entry for entry in inner.values() if name in entry.operands]
  return inner[name].is_root or any(
    user.op == "bitcast" and _is_root(user.name, inner) for user in users
  )


def _written(part: hlo.Instruction, inner: Lines) -> int:
  while part.op == "bitcast":
    part = inner[part.operands[0]]
  if part.op in _UPDATES:
    update = part.operands[_UPDATES[part.op]]
    return _main(part.type) and _size(inner[update].type)
  if part.op == "parameter" or "AsyncCollective" in part.attributes:
    return 0
  return _main(part.type)


def _main(type_text: str) -> int:
  """Bytes of a type's arrays that lie in main memory."""
  return sum(a.num_bytes for a in hlo.arrays(type_text) if not a.space)


def _size(type_text: str) -> int:
  return sum(array.num_bytes for array in hlo.arrays(type_text))
