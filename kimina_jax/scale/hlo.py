"""Parser of HLO text: computations, instructions, trip counts of loops.

In: `compiled.as_text()`. Out: the module's computations and instructions, and
how often each computation is executed. Meshes and costs are traffic.py's.

The trip count of a loop is in its condition, where the induction variable is
compared with a constant; the compiler has normalised scans to count from 0 by
1. A loop with any other condition (`lax.while_loop`) has no static trip count.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class ArrayType(NamedTuple):
  """An array type of HLO, with the shape on one device.

  Attributes:
    dtype: HLO's name of it ("bf16", "s32").
    shape: sizes.
    space: memory space of the layout; 0 is HBM.
  """

  dtype: str
  shape: tuple[int, ...]
  space: int

  @property
  def num_bytes(self) -> int:
    return math.ceil(math.prod(self.shape) * _bits(self.dtype) / 8)


class Instruction(NamedTuple):
  """One instruction of a computation.

  Attributes:
    name: unique in the module.
    op: opcode.
    type: text of the result's type.
    operands: names; for a constant, the text of its value.
    attributes: text after the operands.
    is_root: whether it is the computation's result.
  """

  name: str
  op: str
  type: str
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  @property
  def arrays(self) -> tuple[ArrayType, ...]:
    return arrays(self.type)

  @property
  def scope(self) -> str:
    """Innermost `jax.named_scope` (or transformation) around an operation."""
    match = re.search(r'op_name="([^"]*)"', self.attributes)
    path = match[1].split("/") if match else []
    return path[-2] if len(path) > 1 else ""

  def called(self, *roles: str) -> list[str]:
    """Computations that it calls, in the roles given (`body`, `calls`)."""
    found = []
    for role in roles:
      match = re.search(rf"\b{role}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
      if match:
        found += re.findall(r"[\w.\-]+", match[1])
    return found


class Module(NamedTuple):
  """A compiled program.

  Attributes:
    entry: name of the entry computation.
    computations: by name, each a list of instructions in order.
  """

  entry: str
  computations: Mapping[str, list[Instruction]]


class Execution(NamedTuple):
  """A computation, at one place where the program executes it.

  Attributes:
    computation: its name.
    times: executions per run of the program.
    scope: the loop body, or the entry computation, that it is part of.
    fused: whether it is inside a fusion or an asynchronous wrapper, so that
      its values need not exist in memory.
  """

  computation: str
  times: int
  scope: str
  fused: bool


def parse_module(text: str) -> Module:
  """Parses a module; raises ValueError if it has no entry computation."""
  computations: dict[str, list[Instruction]] = {}
  entry, current = None, None
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header:
      current = computations.setdefault(header["name"], [])
      entry = header["name"] if header["entry"] else entry
    elif current is not None:
      match = _INSTRUCTION.match(line)
      if match:
        current.append(_instruction(match))
  if entry is None:
    raise ValueError("no ENTRY computation: this is not a compiled program")
  return Module(entry, computations)


def executions(
  module: Module, *, trip_counts: Mapping[str, int] | None = None
) -> Iterator[Execution]:
  """Every executed computation, once per place where it is called.

  Args:
    module: the program.
    trip_counts: of loops without a static trip count, by the name of the
      `jax.named_scope` around them; others count once.
  """
  stack = [Execution(module.entry, 1, module.entry, False)]
  while stack:
    execution = stack.pop()
    yield execution
    for instruction in module.computations[execution.computation]:
      stack += _called_executions(
        module, execution, instruction, trip_counts or {}
      )


def arrays(type_text: str) -> tuple[ArrayType, ...]:
  """The arrays of a type, those of a tuple in order."""
  found = []
  for dtype, sizes, layout in _ARRAY.findall(type_text):
    space = re.search(r"S\((\d+)\)", layout)
    shape = tuple(
      int(size) for size in sizes.replace("<=", "").split(",") if size
    )
    found.append(ArrayType(dtype, shape, int(space[1]) if space else 0))
  return tuple(found)


def trip_count(module: Module, loop: Instruction) -> int | None:
  """Static trip count of a loop; None if no constant bounds it."""
  known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes)
  if known:
    return int(known[1])
  (condition,) = loop.called("condition")
  lines = {line.name: line for line in module.computations[condition]}
  root = next(line for line in lines.values() if line.is_root)
  if root.op == "fusion":
    # The comparison was fused; its constant is an operand or inside.
    inner = module.computations[root.called("calls")[0]]
    root = next(line for line in inner if line.is_root)
    lines |= {line.name: line for line in inner}
  if root.op != "compare" or "direction=LT" not in root.attributes:
    return None
  bounds = [line for line in lines.values() if line.op == "constant"]
  bounds = [line for line in bounds if line.type.startswith("s32[]")]
  return int(bounds[0].operands[0]) if len(bounds) == 1 else None


_HEADER = re.compile(
  r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\) -> .*\{\s*$"
)
_INSTRUCTION = re.compile(
  r"^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)$"
)
_ARRAY = re.compile(
  r"\b(pred|token|bf16|[suf]\d+\w*|c\d+)\[([\d,<=]*)\](\{[^}]*\})?"
)
_OPCODE = re.compile(r"\s*([\w\-]+)\(")


def _instruction(match: re.Match) -> Instruction:
  rest = match["rest"]
  if rest.startswith("("):
    split = _closing(rest, 0) + 1
  else:
    split = rest.index(" ")
  opcode = _OPCODE.match(rest, split)
  if not opcode:
    return Instruction(match["name"], "", rest, (), "", bool(match["root"]))
  start = opcode.end() - 1
  stop = _closing(rest, start)
  return Instruction(
    name=match["name"],
    op=opcode[1],
    type=rest[:split],
    operands=_operands(rest[start + 1 : stop]),
    attributes=rest[stop + 1 :],
    is_root=bool(match["root"]),
  )


def _closing(text: str, start: int) -> int:
  """Index of the parenthesis that closes the one at `start`."""
  depth = 0
  for match in re.compile(r"[()]").finditer(text, start):
    depth += 1 if match[0] == "(" else -1
    if not depth:
      return match.start()
  raise ValueError(
    f"a parenthesis of {text[start : start + 80]!r} never closes"
  )


def _operands(text: str) -> tuple[str, ...]:
  names = re.findall(r"%([\w.\-]+)", text)
  return tuple(names) if names else tuple(filter(None, [text.strip()]))


def _called_executions(
  module: Module,
  execution: Execution,
  instruction: Instruction,
  trip_counts: Mapping[str, int],
) -> Iterator[Execution]:
  if instruction.op == "while":
    count = trip_count(module, instruction)
    if count is None:
      count = trip_counts.get(instruction.scope, 1)
    for name in instruction.called("body"):
      yield Execution(name, execution.times * count, name, False)
    return
  for name in instruction.called("branch_computations", "true_computation"):
    yield execution._replace(computation=name)
  fused = instruction.op in ("fusion", "async-start")
  for name in instruction.called("calls"):
    yield execution._replace(computation=name, fused=execution.fused or fused)
  if instruction.op == "call":
    for name in instruction.called("to_apply"):
      yield execution._replace(computation=name)


def _bits(dtype: str) -> int:
  if dtype in ("pred", "token"):
    return 8 if dtype == "pred" else 0
  width = re.search(r"\d+", dtype)
  if width is None:
    raise ValueError(f"unknown dtype {dtype!r} in HLO")
  return int(width[0])
