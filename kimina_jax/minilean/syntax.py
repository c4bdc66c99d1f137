"""Terms: the abstract syntax of the fragment.

The elaborator makes terms and the tactics transform them. They are immutable
and typed, with substitution, comparison up to the names of bound variables, and
Lean's format of printing. Their values are in semantics.py, the concrete syntax
is in parser.py.

A binder's variable is free nowhere, so substitution cannot capture it; inside
of a binder there may be another binder of the same variable, which shadows it.
"""

import dataclasses
import enum
import itertools
from collections.abc import Iterator, Mapping

MAX_DEPTH = 150  # of a term; deeper ones are refused, so recursion is safe

RELATIONS = ("=", "≠", "<", "≤", ">", "≥", "∣")
_PRECEDENCE = {
  **{"↔": 20, "→": 25, "∨": 30, "∧": 35, "¬": 40},
  **dict.fromkeys(RELATIONS, 50),
  **{"+": 65, "-": 65, "*": 70, "/": 70, "%": 70, "neg": 75, "^": 75},
}
_RIGHT = ("→", "∨", "∧", "^")
_fresh = itertools.count(1)


class Sort(enum.StrEnum):
  """Types of the fragment; number types in the order of their coercions."""

  NAT = "ℕ"
  INT = "ℤ"
  RAT = "ℚ"
  REAL = "ℝ"
  PROP = "Prop"

  @property
  def is_field(self) -> bool:
    return self in (Sort.RAT, Sort.REAL)

  @property
  def is_integral(self) -> bool:
    return self in (Sort.NAT, Sort.INT)


NUMBERS = (Sort.NAT, Sort.INT, Sort.RAT, Sort.REAL)


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
  """A typed term.

  Example:
    x + 2 over ℤ is Term("+", (x, Term("num", value=2, sort=Sort.INT)),
    Sort.INT) with x = Term("var", name="x", value=1, sort=Sort.INT).

  Attributes:
    head: "var", "num", "cast", "neg", an infix operator, a connective, "∀",
      "∃", "True" or "False".
    args: operands; a binder has its variable and its body.
    sort: type of the term.
    name: of a variable, for printing; two variables may have the same.
    value: of a numeral, its value; of a variable, the number that identifies
      it.
  """

  head: str
  args: tuple["Term", ...] = ()
  sort: Sort = Sort.PROP
  name: str = dataclasses.field(default="", compare=False)
  value: int = 0


TRUE = Term("True")
FALSE = Term("False")


def variable(name: str, sort: Sort) -> Term:
  """Makes a fresh variable."""
  return Term("var", (), sort, name, next(_fresh))


def numeral(value: int, sort: Sort) -> Term:
  return Term("num", (), sort, value=value)


def operation(head: str, *args: Term) -> Term:
  """An arithmetic operation; it has the sort of its first operand."""
  return Term(head, args, args[0].sort)


def formula(head: str, *args: Term) -> Term:
  """A relation, a connective or a quantifier."""
  return Term(head, args)


def negate(prop: Term) -> Term:
  return formula("¬", prop)


def substitute(term: Term, replacement: Mapping[Term, Term]) -> Term:
  """Replaces free variables (or whole subterms) of `term`."""
  if term in replacement:
    return replacement[term]
  if not term.args:
    return term
  if term.head in ("∀", "∃") and term.args[0] in replacement:
    replacement = {**replacement, term.args[0]: term.args[0]}
  args = tuple(substitute(arg, replacement) for arg in term.args)
  return dataclasses.replace(term, args=args)


def subterms(term: Term) -> Iterator[Term]:
  """Yields `term` and its subterms, outermost first."""
  yield term
  for arg in term.args:
    yield from subterms(arg)


def occurs(part: Term, term: Term) -> bool:
  return any(part == other for other in subterms(term))


def is_open(term: Term) -> bool:
  """Whether `term` has variables, bound or free."""
  return any(part.head == "var" for part in subterms(term))


def canonical(term: Term, level: int = 0) -> Term:
  """A form that is equal for terms that Lean's `exact` identifies.

  Nothing is computed. Bound variables are numbered, `a > b` becomes `b < a`,
  `a ≠ b` and `¬p` become implications of False.
  """
  if term.head in ("∀", "∃"):
    bound = dataclasses.replace(term.args[0], value=-1 - level)
    body = substitute(term.args[1], {term.args[0]: bound})
    return formula(term.head, bound, canonical(body, level + 1))
  args = tuple(canonical(arg, level) for arg in term.args)
  if term.head in (">", "≥"):
    return formula({">": "<", "≥": "≤"}[term.head], args[1], args[0])
  if term.head == "≠":
    return formula("→", formula("=", *args), FALSE)
  if term.head == "¬":
    return formula("→", *args, FALSE)
  return dataclasses.replace(term, args=args)


def same(a: Term, b: Term) -> bool:
  return canonical(a) == canonical(b)


def match_pattern(
  pattern: Term, term: Term, holes: dict[Term, Term | None]
) -> bool:
  """First-order matching: fills `holes` so that `pattern` equals `term`.

  Both sides are compared as they are, so pass canonical terms. A hole is never
  filled with bound variables, which have no meaning outside their binder.
  """
  if pattern in holes:
    fits = pattern.sort == term.sort and not _has_bound(term)
    if holes[pattern] is None and fits:
      holes[pattern] = term
    return holes[pattern] == term
  if not pattern.args or len(pattern.args) != len(term.args):
    return pattern == term
  # Casts to two types differ in their sorts only.
  if (pattern.head, pattern.sort) != (term.head, term.sort):
    return False
  return all(
    match_pattern(a, b, holes)
    for a, b in zip(pattern.args, term.args, strict=True)
  )


def _has_bound(term: Term) -> bool:
  return any(part.head == "var" and part.value < 0 for part in subterms(term))


def show(term: Term, outer: int = 0) -> str:
  """Prints `term` as Lean does, in brackets if it binds weaker than `outer`."""
  if term.head in ("∀", "∃"):
    text, level = _show_binder(term), 1
  elif term.head in _PRECEDENCE:
    text, level = _show_operation(term)
  elif term.head == "cast":
    return "↑" + show(term.args[0], 1024)
  else:
    return {"var": term.name, "num": str(term.value)}.get(term.head, term.head)
  return f"({text})" if level < outer else text


def _show_operation(term: Term) -> tuple[str, int]:
  level = _PRECEDENCE[term.head]
  if term.head in ("neg", "¬"):
    sign = "-" if term.head == "neg" else "¬"
    inner = show(term.args[0], level)
    # Two dashes in a row begin a comment.
    space = " " if sign == "-" and inner.startswith("-") else ""
    return f"{sign}{space}{inner}", level
  left, right = level + 1, level + 1
  if term.head in _RIGHT:
    right = level
  elif level > 50:
    left = level
  a, b = term.args
  return f"{show(a, left)} {term.head} {show(b, right)}", level


def _show_binder(term: Term) -> str:
  bound, body = term.args
  if term.head == "∃":
    return f"∃ {bound.name}, {show(body)}"
  return f"∀ ({bound.name} : {bound.sort}), {show(body)}"
