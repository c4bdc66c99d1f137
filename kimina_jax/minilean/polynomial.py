"""Polynomial normal forms, for ring, linarith and nlinarith.

In: terms of any number type. Out: polynomials with rational coefficients, whose
indeterminates are the terms that are not sums, products or powers.

A polynomial has the value of its term in the field (for ℕ and ℤ, in the
rationals); subtraction on ℕ and division on ℕ and ℤ, which differ there, are
indeterminates.
"""

import dataclasses
import fractions

from kimina_jax.minilean.semantics import (
  Undecided,
  bounded,
  evaluate_integer,
  evaluate_term,
  power,
)
from kimina_jax.minilean.syntax import (
  Sort,
  Term,
  canonical,
  is_open,
  numeral,
  operation,
)

MAX_MONOMIALS = 400
MAX_DEGREE = 24

# Indeterminates with their exponents, in a fixed order.
Monomial = tuple[tuple[Term, int], ...]
ONE: Monomial = ()


@dataclasses.dataclass(frozen=True)
class Polynomial:
  """Σ coefficient · monomial, without zero coefficients.

  Example:
    2x² − 1 is Polynomial({((x, 2),): 2, (): −1}).
  """

  terms: dict[Monomial, fractions.Fraction]

  def __add__(self, other: "Polynomial") -> "Polynomial":
    total = dict(self.terms)
    for monomial, coefficient in other.terms.items():
      total[monomial] = total.get(monomial, fractions.Fraction(0)) + coefficient
    return _collect(total)

  def __neg__(self) -> "Polynomial":
    return Polynomial({m: -c for m, c in self.terms.items()})

  def __sub__(self, other: "Polynomial") -> "Polynomial":
    return self + -other

  def __mul__(self, other: "Polynomial") -> "Polynomial":
    total: dict[Monomial, fractions.Fraction] = {}
    if len(self.terms) * len(other.terms) > MAX_MONOMIALS**2 // 4:
      raise Undecided("polynomial too large")
    for m, c in self.terms.items():
      for n, d in other.terms.items():
        product = _times(m, n)
        total[product] = total.get(product, fractions.Fraction(0)) + c * d
    return _collect(total)


def constant(value: int | fractions.Fraction) -> Polynomial:
  return _collect({ONE: fractions.Fraction(value)})


def polynomial(term: Term, *, casts: bool) -> Polynomial:
  """Computes the normal form of a number.

  Args:
    term: of type ℕ, ℤ, ℚ or ℝ.
    casts: whether `(↑n : ℤ)` is read as n, with casts moved inwards, as in
      linarith; else a cast is an indeterminate, as in ring.

  Raises:
    Undecided: the normal form is too large.
  """
  if term.head == "num":
    return constant(term.value)
  if term.head == "cast" and casts and term.sort is Sort.INT:
    return polynomial(term.args[0], casts=True)
  if term.head == "^":
    return _power(term, casts)
  if term.head == "neg":
    return -polynomial(term.args[0], casts=casts)
  if term.head == "/" and term.sort.is_field:
    return polynomial(term.args[0], casts=casts) * _inverse(term.args[1])
  if term.head in ("+", "*") or (term.head == "-" and term.sort != Sort.NAT):
    a, b = (polynomial(arg, casts=casts) for arg in term.args)
    return {"+": a.__add__, "-": a.__sub__, "*": a.__mul__}[term.head](b)
  return _indeterminate(term)


def _power(term: Term, casts: bool) -> Polynomial:
  base, exponent = term.args
  try:
    times = evaluate_integer(exponent)
  except Undecided:
    return _indeterminate(term)
  result, factor = constant(1), polynomial(base, casts=casts)
  if factor.terms.keys() <= {ONE}:
    return constant(power(factor.terms.get(ONE, fractions.Fraction(0)), times))
  if times > MAX_DEGREE:
    raise Undecided("degree too large")
  for _ in range(times):
    result = result * factor
  return result


def _inverse(term: Term) -> Polynomial:
  try:
    value = fractions.Fraction(evaluate_term(term))
    return constant(1 / value if value else 0)
  except Undecided:
    return _indeterminate(operation("/", numeral(1, term.sort), term))


def _indeterminate(term: Term) -> Polynomial:
  if not is_open(term):
    return constant(evaluate_term(term))
  return Polynomial({((canonical(term), 1),): fractions.Fraction(1)})


def _times(m: Monomial, n: Monomial) -> Monomial:
  exponents = dict(m)
  for atom, exponent in n:
    exponents[atom] = exponents.get(atom, 0) + exponent
  return tuple(sorted(exponents.items(), key=_order))


def _order(power: tuple[Term, int]) -> tuple[int, str]:
  atom = power[0]
  return (atom.value, "") if atom.head == "var" else (0, repr(atom))


def _collect(total: dict[Monomial, fractions.Fraction]) -> Polynomial:
  terms = {}
  for monomial, coefficient in total.items():
    if coefficient:
      bounded(coefficient)
      terms[monomial] = coefficient
  if len(terms) > MAX_MONOMIALS:
    raise Undecided("polynomial too large")
  return Polynomial(terms)
