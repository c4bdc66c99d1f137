"""What a compiled program reads from and writes to main memory: an estimate.

In: a module. Out: bytes per device and run. Each instruction outside a fusion
reads its operands and writes its results, unless the compiler keeps them in
on-chip memory; a fusion that slices an operand reads the slice, and one that
updates a buffer in place writes the update. Padding of layouts and re-reads
of blocks inside a matrix product or a kernel are not seen. On CPU and GPU
caches serve part of it.
"""

from collections.abc import Mapping

from kimina_jax.scaling import hlo
from kimina_jax.scaling.collectives import KINDS

# These name a value or start something that is counted where it ends up.
_FREE = {
  *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
  *("while", "conditional", "call", "after-all", "partition-id", "replica-id"),
  *("opt-barrier", "iota", "domain", "async-update", ""),
}
_SLICES = ("dynamic-slice", "slice", "gather")

Lines = Mapping[str, hlo.Instruction]


def hbm_bytes(module: hlo.Module, *, while_trips: int = 1) -> int:
  """Bytes of main memory per device that a run of the program moves."""
  tables = {
    name: {line.name: line for line in lines}
    for name, lines in module.computations.items()
  }
  return sum(
    visit.times * _moved(line, tables[visit.computation], tables)
    for visit in hlo.visits(module, while_trips=while_trips)
    if not visit.fused
    for line in module.computations[visit.computation]
  )


def _moved(
  line: hlo.Instruction, table: Lines, tables: Mapping[str, Lines]
) -> int:
  op = line.op
  if op in _FREE or op.endswith("-done"):
    return 0
  operands = [table[name].type for name in line.operands if name in table]
  if op == "fusion":
    return _fusion(line, operands, tables[line.called("calls")[0]])
  if op in _SLICES:
    return 2 * _main(line.type)
  if op == "dynamic-update-slice":
    return 2 * _main(operands[1])
  if op in ("copy-start", "slice-start", "dynamic-slice-start"):
    return _copied(line)
  if op.removesuffix("-start") in KINDS:
    return _main(line.type)
  return _main(line.type) + sum(map(_main, operands))


def _copied(line: hlo.Instruction) -> int:
  """A copy to or from on-chip memory: the smaller array, at each end."""
  ends = [array for array in line.arrays if len(array.shape)][:2]
  size = min((array.num_bytes for array in ends), default=0)
  return sum(size for array in ends if not array.space)


def _fusion(line: hlo.Instruction, operands: list[str], inner: Lines) -> int:
  parameters = {
    int(entry.operands[0]): entry
    for entry in inner.values()
    if entry.op == "parameter"
  }
  users: dict[str, list[hlo.Instruction]] = {}
  for entry in inner.values():
    for name in entry.operands:
      users.setdefault(name, []).append(entry)
  read = sum(
    _read(parameters[index].name, type_text, users)
    for index, type_text in enumerate(operands)
    if index in parameters
  )
  root = next(entry for entry in inner.values() if entry.is_root)
  parts = [inner[n] for n in root.operands] if root.op == "tuple" else [root]
  return read + sum(_written(part, inner) for part in parts)


def _read(
  name: str, type_text: str, users: Mapping[str, list[hlo.Instruction]]
) -> int:
  """Bytes that a fusion reads of one operand, by how it uses it."""
  total = 0
  for user in users.get(name, ()):
    if user.op == "bitcast":
      total += _read(user.name, type_text, users)
    elif user.op in _SLICES:
      total += _main(type_text) and _size(user.type)
    elif user.op == "dynamic-update-slice" and user.operands[0] == name:
      continue
    elif user.op == "tuple" or user.op in KINDS:
      continue
    elif user.op == "custom-call" and "AsyncCollective" in user.attributes:
      continue
    else:
      return _main(type_text)
  return min(total, _main(type_text))


def _written(part: hlo.Instruction, inner: Lines) -> int:
  while part.op == "bitcast":
    part = inner[part.operands[0]]
  if part.op == "dynamic-update-slice":
    return _main(part.type) and _size(inner[part.operands[1]].type)
  if part.op == "parameter" or "AsyncCollective" in part.attributes:
    return 0
  return _main(part.type)


def _main(type_text: str) -> int:
  """Bytes of a type's arrays that lie in main memory."""
  return sum(a.num_bytes for a in hlo.arrays(type_text) if not a.space)


def _size(type_text: str) -> int:
  return sum(array.num_bytes for array in hlo.arrays(type_text))
