"""Semantics of terms: exact evaluation, and an encoding for z3.

In: terms. Out: exact values of closed terms; formulas over the integers for
z3, for omega's fragment. A term that has neither raises Undecided; nothing is
approximated.

Lean's conventions hold: truncated subtraction on ℕ, x / 0 = 0 and x % 0 = x,
Euclidean division on ℤ, 0 ^ 0 = 1. The correctness of an accepted arithmetic
step rests on this module, polynomial.py and z3.
"""

import dataclasses
import fractions
from typing import Any, cast

from kimina_jax.minilean.syntax import (
  Sort,
  Term,
  canonical,
  is_open,
)

Value = int | fractions.Fraction | bool

MAX_BITS = 1 << 13  # size of any number that is computed

_CONNECTIVES = {"¬": "not", "∧": "and", "∨": "or", "→": "=>", "↔": "="}
_RELATIONS = {
  **{"=": "=", "≠": "distinct"},
  **{"<": "<", "≤": "<=", ">": ">", "≥": ">="},
}
_DIVISIONS = {"/": "div", "%": "mod"}


class Undecided(Exception):
  """The term has variables, quantifiers or numbers that are too large."""


def evaluate_term(term: Term) -> Value:
  """Evaluates a closed term to a bool, an int (ℕ, ℤ) or a Fraction (ℚ, ℝ)."""
  if term.head == "num":
    return fractions.Fraction(term.value) if term.sort.is_field else term.value
  if term.head in ("var", "∀", "∃"):
    raise Undecided(term.head)
  values: list[Any] = [evaluate_term(arg) for arg in term.args]
  if term.head == "cast":
    return fractions.Fraction(values[0]) if term.sort.is_field else values[0]
  if term.head == "^":
    return power(*values)
  if term.sort is Sort.PROP:
    return _truth(term.head, values)
  return bounded(_arithmetic(term.head, term.sort, values))


def evaluate_integer(term: Term) -> int:
  """Evaluates a closed term of type ℕ or ℤ."""
  return cast(int, evaluate_term(term))


def _arithmetic(head: str, sort: Sort, values: list[Any]) -> Value:
  if head == "neg":
    return -values[0]
  a, b = values
  match head:
    case "+":
      return a + b
    case "*":
      return a * b
    case "-":
      return max(a - b, 0) if sort is Sort.NAT else a - b
    case "/":
      return quotient(a, b) if sort.is_integral else (a / b if b else a * 0)
    case "%":
      return remainder(a, b)
  raise Undecided(head)


def quotient(a: int, b: int) -> int:
  """Lean's `/` on ℕ and ℤ, whose remainder is never negative."""
  return (a - a % abs(b)) // b if b else 0


def remainder(a: int, b: int) -> int:
  """Lean's `%` on ℕ and ℤ."""
  return a % abs(b) if b else a


def power(base: Any, exponent: int) -> Any:
  """base ^ exponent with 0 ^ 0 = 1; Undecided if it is too large."""
  size = max(_bits(base), 1)
  if base not in (0, 1, -1) and size * exponent > MAX_BITS:
    raise Undecided("power too large")
  # Powers of −1, 0 and 1 are fast for any exponent.
  return base**exponent


def bounded(value: Value) -> Value:
  """Returns `value`; Undecided if it is too large to compute with."""
  if _bits(value) > MAX_BITS:
    raise Undecided("number too large")
  return value


def _bits(value: Value) -> int:
  return max(value.numerator.bit_length(), value.denominator.bit_length())


def _truth(head: str, values: list[Any]) -> bool:
  match head, values:
    case (("True" | "False"), _):
      return head == "True"
    case "¬", [p]:
      return not p
    case (("=" | "↔"), [a, b]):
      return a == b
    case "≠", [a, b]:
      return a != b
    case "<", [a, b]:
      return a < b
    case "≤", [a, b]:
      return a <= b
    case ">", [a, b]:
      return a > b
    case "≥", [a, b]:
      return a >= b
    case "∣", [a, b]:
      return b == 0 if a == 0 else b % a == 0
    case "∧", [p, q]:
      return p and q
    case "∨", [p, q]:
      return p or q
    case "→", [p, q]:
      return not p or q
  raise Undecided(head)


@dataclasses.dataclass
class Encoding:
  """Linear integer arithmetic in SMT-LIB's syntax, for z3.

  A term that is not linear becomes an unknown integer, the same one for equal
  terms, so that a proof of z3 holds for all its values.

  Attributes:
    atoms: canonical term -> name of the unknown.
  """

  atoms: dict[Term, str] = dataclasses.field(default_factory=dict)

  def naturals(self) -> list[str]:
    """Assertions that the unknowns of type ℕ are not negative."""
    return [
      f"(>= {name} 0)"
      for term, name in self.atoms.items()
      if term.sort is Sort.NAT
    ]

  def proposition(self, term: Term) -> str:
    """Encodes a proposition; Undecided if a part is not over ℕ and ℤ."""
    if term.head in ("True", "False"):
      return term.head.lower()
    if term.head in ("∀", "∃", "var"):
      raise Undecided(term.head)
    if term.args[0].sort is not Sort.PROP:
      return self._relation(term.head, *term.args)
    parts = [self.proposition(arg) for arg in term.args]
    return f"({_CONNECTIVES[term.head]} {' '.join(parts)})"

  def _relation(self, head: str, left: Term, right: Term) -> str:
    if not left.sort.is_integral:
      raise Undecided(str(left.sort))
    if head == "∣":
      divisor, b = abs(evaluate_integer(left)), self.number(right)
      return f"(= (mod {b} {divisor}) 0)" if divisor else f"(= {b} 0)"
    return f"({_RELATIONS[head]} {self.number(left)} {self.number(right)})"

  def number(self, term: Term) -> str:
    """Encodes a term of type ℕ or ℤ as an integer expression."""
    try:
      return smt_integer(evaluate_integer(term))
    except Undecided:
      pass
    try:
      return self._linear(term)
    except Undecided:
      return self.atoms.setdefault(canonical(term), f"a{len(self.atoms)}")

  def _linear(self, term: Term) -> str:
    match term.head, term.args:
      case "cast", [inner]:
        return self.number(inner)
      case "neg", [inner]:
        return f"(- {self.number(inner)})"
      case "+", [a, b]:
        return f"(+ {self.number(a)} {self.number(b)})"
      case "-", [a, b]:
        left, right = self.number(a), self.number(b)
        if term.sort is Sort.INT:
          return f"(- {left} {right})"
        return f"(ite (>= {left} {right}) (- {left} {right}) 0)"
      case "*", [a, b]:
        if is_open(a) and is_open(b):
          raise Undecided("a product of two unknowns")
        return f"(* {self.number(a)} {self.number(b)})"
      case (("/" | "%"), [a, b]):
        return self._division(term.head, self.number(a), evaluate_integer(b))
    raise Undecided(term.head)

  def _division(self, head: str, a: str, divisor: int) -> str:
    if divisor == 0:
      return "0" if head == "/" else a
    # SMT-LIB's division is Euclidean, like Lean's.
    return f"({_DIVISIONS[head]} {a} {smt_integer(divisor)})"


def smt_integer(value: int) -> str:
  return str(value) if value >= 0 else f"(- {-value})"
