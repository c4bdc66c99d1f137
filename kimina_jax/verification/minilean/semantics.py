"""What terms mean: Lean's arithmetic, by evaluation and for z3.

In: Terms. Out: exact values of closed terms; z3 formulas over the integers for
omega's fragment. Never: search, and never an approximation: a term without a
meaning here is Undecided.

Truncated subtraction on ℕ, x / 0 = 0 and x % 0 = x everywhere, Euclidean
division on ℤ, 0 ^ 0 = 1. This file, polynomial.py and z3 are what an accepted
arithmetic step rests on.
"""

import dataclasses
import fractions

import z3

from kimina_jax.verification.minilean.syntax import Sort, Term, canonical

Value = int | fractions.Fraction | bool

MAX_BITS = 1 << 16  # of any number that is computed


class Undecided(Exception):
  """The term has variables, quantifiers or numbers that are too large."""


def evaluate(term: Term) -> Value:
  """The value of a closed term: bool, int (ℕ, ℤ) or Fraction (ℚ, ℝ)."""
  if term.head == "num":
    return fractions.Fraction(term.value) if term.sort.is_field else term.value
  if term.head in ("var", "∀", "∃"):
    raise Undecided(term.head)
  values = [evaluate(arg) for arg in term.args]
  if term.head == "cast":
    return fractions.Fraction(values[0]) if term.sort.is_field else values[0]
  if term.head == "^":
    return power(*values)
  if term.sort is Sort.PROP:
    return _truth(term.head, values)
  return _arithmetic(term.head, term.sort, values)


def _arithmetic(head: str, sort: Sort, values: list[Value]) -> Value:
  if head == "neg":
    return -values[0]
  a, b = values
  match head:
    case "+":
      return _bounded(a + b)
    case "*":
      return _bounded(a * b)
    case "-":
      return max(a - b, 0) if sort is Sort.NAT else a - b
    case "/":
      return quotient(a, b) if sort.is_integral else (a / b if b else a * 0)
    case "%":
      return remainder(a, b)
  raise Undecided(head)


def quotient(a: int, b: int) -> int:
  """Lean's `/` on ℕ and ℤ: the remainder is never negative."""
  return (a - a % abs(b)) // b if b else 0


def remainder(a: int, b: int) -> int:
  """Lean's `%` on ℕ and ℤ."""
  return a % abs(b) if b else a


def power(base: Value, exponent: int) -> Value:
  """base ^ exponent with 0 ^ 0 = 1; Undecided if it is too large."""
  size = max(_bits(base), 1)
  if base not in (0, 1, -1) and size * exponent > MAX_BITS:
    raise Undecided("power too large")
  # Python's own powers of −1, 0 and 1 are quick for any exponent.
  return base**exponent


def _bounded(value: Value) -> Value:
  if _bits(value) > MAX_BITS:
    raise Undecided("number too large")
  return value


def _bits(value: Value) -> int:
  return max(value.numerator.bit_length(), value.denominator.bit_length())


def _truth(head: str, values: list[Value]) -> bool:
  match head, values:
    case ("True" | "False"), _:
      return head == "True"
    case "¬", [p]:
      return not p
    case ("=" | "↔"), [a, b]:
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
  """z3's view of linear integer arithmetic.

  Whatever is not linear is an unknown integer, the same one for the same term;
  so what z3 proves holds for all its values.

  Attributes:
    context: where the formulas live.
    atoms: unknowns by canonical term.
  """

  context: z3.Context
  atoms: dict[Term, z3.ArithRef] = dataclasses.field(default_factory=dict)

  def naturals(self) -> list[z3.BoolRef]:
    """That the unknowns of type ℕ are not negative."""
    return [
      unknown >= 0
      for term, unknown in self.atoms.items()
      if term.sort is Sort.NAT
    ]

  def proposition(self, term: Term) -> z3.BoolRef:
    """Undecided where a part is not arithmetic over ℕ and ℤ."""
    if term.head in ("∀", "∃", "var"):
      raise Undecided(term.head)
    if term.head in ("True", "False"):
      return z3.BoolVal(term.head == "True", self.context)
    if term.args[0].sort is not Sort.PROP:
      return self._relation(term.head, *term.args)
    parts = [self.proposition(arg) for arg in term.args]
    match term.head:
      case "¬":
        return z3.Not(*parts)
      case "∧":
        return z3.And(*parts)
      case "∨":
        return z3.Or(*parts)
      case "→":
        return z3.Implies(*parts)
      case "↔":
        return parts[0] == parts[1]
    raise Undecided(term.head)

  def _relation(self, head: str, left: Term, right: Term) -> z3.BoolRef:
    if not left.sort.is_integral:
      raise Undecided(str(left.sort))
    if head == "∣":
      divisor = self._literal(left)
      b = self.number(right)
      return b % abs(divisor) == 0 if divisor else b == 0
    a, b = self.number(left), self.number(right)
    match head:
      case "=":
        return a == b
      case "≠":
        return a != b
      case "<":
        return a < b
      case "≤":
        return a <= b
      case ">":
        return a > b
      case "≥":
        return a >= b
    raise Undecided(head)

  def number(self, term: Term) -> z3.ArithRef:
    """A z3 integer with the value of a term of type ℕ or ℤ."""
    try:
      return z3.IntVal(evaluate(term), self.context)
    except Undecided:
      pass
    try:
      return self._linear(term)
    except Undecided:
      return self._atom(term)

  def _linear(self, term: Term) -> z3.ArithRef:
    match term.head, term.args:
      case "cast", [inner]:
        return self.number(inner)
      case "neg", [inner]:
        return -self.number(inner)
      case "+", [a, b]:
        return self.number(a) + self.number(b)
      case "-", [a, b]:
        a, b = self.number(a), self.number(b)
        if term.sort is Sort.INT:
          return a - b
        return z3.If(a >= b, a - b, z3.IntVal(0, self.context))
      case "*", [a, b]:
        return self._product(a, b)
      case ("/" | "%"), [a, b]:
        return self._division(term.head, self.number(a), self._literal(b))
    raise Undecided(term.head)

  def _product(self, a: Term, b: Term) -> z3.ArithRef:
    try:
      return self._literal(a) * self.number(b)
    except Undecided:
      return self.number(a) * self._literal(b)

  def _division(self, head: str, a: z3.ArithRef, divisor: int) -> z3.ArithRef:
    if divisor == 0:
      return z3.IntVal(0, self.context) if head == "/" else a
    # SMT-LIB's division is Euclidean, as Lean's is.
    literal = z3.IntVal(divisor, self.context)
    return a / literal if head == "/" else a % literal

  def _literal(self, term: Term) -> int:
    return evaluate(term)

  def _atom(self, term: Term) -> z3.ArithRef:
    key = canonical(term)
    if key not in self.atoms:
      name = f"atom{len(self.atoms)}"
      self.atoms[key] = z3.Int(name, self.context)
    return self.atoms[key]
