"""Decision procedures of the arithmetic tactics.

In: hypotheses and a target. Out: whether the tactic of that name proves the
target.

omega, linarith and nlinarith first relax the problem to what the tactic uses (a
fact that the tactic ignores is dropped, a term that it does not interpret
becomes an unknown), and then z3 has to refute the facts together with the
negated target. A relaxation only drops information, so a refutation is a proof.
z3 stops at a number of its own steps, not at a time, so that the same text gets
the same answer on every machine; any answer but "unsat" is a failure.
"""

import dataclasses
import fractions
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import z3

from kimina_jax.minilean.polynomial import (
  ONE,
  Monomial,
  Polynomial,
  constant,
  polynomial,
)
from kimina_jax.minilean.semantics import (
  Encoding,
  Undecided,
  evaluate_term,
  smt_integer,
)
from kimina_jax.minilean.syntax import (
  FALSE,
  Sort,
  Term,
  canonical,
  formula,
  is_open,
  negate,
  numeral,
  subterms,
)

RESOURCE_LIMIT = 500_000  # steps of z3 for one query
QUICK_LIMIT = RESOURCE_LIMIT // 10
MAX_PRODUCTS = 400  # facts that nlinarith may add
MAX_WORK = 20_000  # monomials that nlinarith may multiply

_FLIPPED = {"<": "≥", "≤": ">", ">": "≤", "≥": "<"}


def ring(target: Term) -> bool:
  """Whether `target` is an identity of commutative (semi)rings."""
  if target.head != "=":
    return False
  try:
    left, right = (polynomial(side, casts=False) for side in target.args)
    return not (left - right).terms
  except Undecided:
    return False


def omega(facts: Iterable[Term], target: Term) -> bool:
  """Whether linear arithmetic over ℕ and ℤ refutes facts and ¬target."""
  encoding = Encoding()
  claims = []
  for prop in [*facts, negate(target)]:
    try:
      claims.append(encoding.proposition(prop))
    except Undecided:
      continue
  return _refuted(
    encoding.atoms.values(), "Int", [*claims, *encoding.naturals()]
  )


def linarith(facts: Iterable[Term], target: Term) -> bool:
  """Whether a linear combination of the facts and ¬target is 0 < 0."""
  return all(
    _inconsistent(_comparisons([*facts, *negated]))
    for negated in _negations(target)
  )


def nlinarith(facts: Iterable[Term], target: Term) -> bool:
  """linarith with the products of pairs of facts and the squares in them."""
  facts = list(facts)
  return all(
    _inconsistent(_with_products([*facts, *negated]))
    for negated in _negations(target)
  )


@dataclasses.dataclass(frozen=True)
class _Comparison:
  """`left relation 0`, with the relation =, < or ≤."""

  left: Polynomial
  relation: str
  integral: bool  # over ℕ or ℤ


def _negations(target: Term) -> list[list[Term]]:
  """The sets of facts that linarith has to refute to prove `target`."""
  if target.head == "=":
    return [[formula(sign, *target.args)] for sign in ("<", ">")]
  if target.head in _FLIPPED:
    return [[formula(_FLIPPED[target.head], *target.args)]]
  if target.head == "¬" and target.args[0].head in _FLIPPED:
    return [list(target.args)]
  # Another target is ignored: the facts themselves must be contradictory.
  return [[]]


def _comparisons(props: Sequence[Term]) -> list[_Comparison]:
  comparisons = []
  for prop in _conjuncts(props):
    if prop.head == "¬" and prop.args[0].head in _FLIPPED:
      inner = prop.args[0]
      prop = formula(_FLIPPED[inner.head], *inner.args)
    if prop.head not in ("=", *_FLIPPED):
      continue
    try:
      comparisons.append(_comparison(prop))
    except Undecided:
      continue
  return comparisons + _naturals(comparisons)


def _conjuncts(props: Iterable[Term]) -> Iterator[Term]:
  for prop in props:
    if prop.head == "∧":
      yield from _conjuncts(prop.args)
    else:
      yield prop


def _naturals(comparisons: Sequence[_Comparison]) -> list[_Comparison]:
  """−n ≤ 0 for the indeterminates of type ℕ."""
  monomials = [m for comparison in comparisons for m in comparison.left.terms]
  atoms = dict.fromkeys(atom for m in monomials for atom, _ in m)
  return [
    _Comparison(Polynomial({((atom, 1),): fractions.Fraction(-1)}), "≤", True)
    for atom in atoms
    if atom.sort is Sort.NAT
  ]


def _comparison(prop: Term) -> _Comparison:
  left, right = (polynomial(side, casts=True) for side in prop.args)
  difference = right - left if prop.head in (">", "≥") else left - right
  relation = {">": "<", "≥": "≤"}.get(prop.head, prop.head)
  integral = prop.args[0].sort.is_integral
  return _strengthen(_Comparison(difference, relation, integral))


def _strengthen(comparison: _Comparison) -> _Comparison:
  """p < 0 is p + 1 ≤ 0 for integers."""
  if comparison.relation != "<" or not comparison.integral:
    return comparison
  return _Comparison(comparison.left + constant(1), "≤", True)


def _with_products(props: Sequence[Term]) -> list[_Comparison]:
  """Adds Mathlib's Positivstellensatz certificates of degree 2."""
  comparisons = _comparisons(props)
  factors = [*comparisons, *_squares(props)]
  products, work = [], 0
  for a, b in itertools.combinations_with_replacement(factors, 2):
    work += len(a.left.terms) * len(b.left.terms)
    try:
      products.append(_product(a, b))
    except Undecided:
      continue
    if len(products) >= MAX_PRODUCTS or work > MAX_WORK:
      break
  return [*factors, *products]


def _squares(props: Sequence[Term]) -> list[_Comparison]:
  """−t² ≤ 0 for the squares t² and t·t in the facts."""
  squares: dict[Term, bool] = {}
  for prop in props:
    for part in subterms(prop):
      if part.head == "*" and part.args[0] == part.args[1]:
        squares[canonical(part)] = part.sort.is_integral
      if part.head == "^" and part.args[1].head == "num":
        if part.args[1].value % 2 == 0:
          squares[canonical(part)] = part.sort.is_integral
  found = []
  for part, integral in squares.items():
    try:
      square = polynomial(part, casts=True)
    except Undecided:
      continue
    found.append(_Comparison(-square, "≤", integral))
  return found


def _product(a: _Comparison, b: _Comparison) -> _Comparison:
  """The product of two left sides that are ≤ 0, which is ≥ 0."""
  relation = {a.relation, b.relation}
  left = a.left * b.left
  integral = a.integral and b.integral
  if "=" in relation:
    return _Comparison(left, "=", integral)
  return _Comparison(-left, "<" if relation == {"<"} else "≤", integral)


def _inconsistent(comparisons: Sequence[_Comparison]) -> bool:
  """Whether the comparisons, with monomials as unknowns, have no solution."""
  unknowns: dict[Monomial, str] = {}
  claims = []
  for comparison in comparisons:
    left = _linear_form(comparison.left, unknowns)
    sign = {"=": "=", "<": "<", "≤": "<="}[comparison.relation]
    claims.append(f"({sign} {left} 0)")
  return _refuted(unknowns.values(), "Real", claims)


def _linear_form(left: Polynomial, unknowns: dict[Monomial, str]) -> str:
  # A positive factor makes all coefficients integers.
  scale = math.lcm(*(c.denominator for c in left.terms.values()))
  summands = ["0"]
  for monomial, coefficient in left.terms.items():
    factor = smt_integer(int(coefficient * scale))
    if monomial != ONE:
      name = unknowns.setdefault(monomial, f"m{len(unknowns)}")
      factor = f"(* {factor} {name})"
    summands.append(factor)
  return f"(+ {' '.join(summands)})"


def _refuted(names: Iterable[str], sort: str, claims: Sequence[str]) -> bool:
  """Whether z3 refutes the claims about the unknowns."""
  lines = [f"(declare-const {name} {sort})" for name in names]
  lines += [f"(assert {claim})" for claim in claims]
  query = "\n".join(lines)
  answer = _solve(query, None, QUICK_LIMIT)
  if answer == z3.unknown:
    # z3 numbers the terms of a context in order of creation, which may change
    # its search. A new context makes the final answer reproducible.
    answer = _solve(query, z3.Context(), RESOURCE_LIMIT)
  return answer == z3.unsat


def _solve(
  query: str, context: z3.Context | None, limit: int
) -> z3.CheckSatResult:
  solver = z3.SimpleSolver(ctx=context)
  solver.set("rlimit", limit)
  solver.from_string(query)
  return solver.check()


def positivity(facts: Sequence[Term], target: Term) -> bool:
  """Whether the structure of e proves `0 < e`, `0 ≤ e` or `e ≠ 0`.

  The signs of unknowns come from `facts`; two expressions are never compared.
  """
  prop = canonical(target)
  if target.head == "≠":
    prop = formula("≠", *target.args)
    if prop.args[1] != numeral(0, prop.args[1].sort):
      return False
    return _sign(facts, prop.args[0]) in ("<", "≠")
  if prop.head not in ("<", "≤") or prop.args[0] != numeral(
    0, prop.args[0].sort
  ):
    return False
  sign = _sign(facts, prop.args[1])
  return sign == "<" or (prop.head == "≤" and sign == "≤")


def _sign(facts: Sequence[Term], term: Term) -> str:
  """Sign of a number: "<" if positive, "≤" if not negative, "≠" if not zero.

  "" if nothing is known.
  """
  if not is_open(term):
    return _value_sign(term)
  match term.head, term.args:
    case "+", (a, b):
      signs = {_sign(facts, a), _sign(facts, b)}
      if not signs <= {"<", "≤"}:
        return ""
      return "<" if "<" in signs else "≤"
    case "*", (a, b):
      return _product_sign(_sign(facts, a), _sign(facts, b))
    case "/", (a, b) if term.sort.is_field:
      return _product_sign(_sign(facts, a), _sign(facts, b))
    case "^", (base, exponent):
      return _power_sign(_sign(facts, base), exponent)
    case "cast", (inner,):
      return _sign(facts, inner)
  return _assumed_sign(facts, term)


def _value_sign(term: Term) -> str:
  try:
    value = evaluate_term(term)
  except Undecided:
    return ""
  return "<" if value > 0 else "≤" if value == 0 else "≠"


def _product_sign(a: str, b: str) -> str:
  if "" in (a, b):
    return ""
  if "≠" in (a, b):
    return "" if "≤" in (a, b) else "≠"
  return "≤" if "≤" in (a, b) else "<"


def _power_sign(base: str, exponent: Term) -> str:
  if base == "<" or exponent.head != "num":
    return base if base in ("<", "≤") else ""
  if exponent.value == 0:
    return "<"
  if exponent.value % 2 == 0:
    return "<" if base == "≠" else "≤"
  return base


def _assumed_sign(facts: Sequence[Term], term: Term) -> str:
  zero, key = numeral(0, term.sort), canonical(term)
  known = {canonical(fact) for fact in facts}
  if formula("<", zero, key) in known:
    return "<"
  if canonical(formula("≠", key, zero)) in known:
    return "≠"
  if term.sort is Sort.NAT or formula("≤", zero, key) in known:
    return "≤"
  return ""


def decidable(target: Term) -> bool:
  """Whether `target` is a closed proposition over ℕ and ℤ, as for `decide`."""
  sorts = {part.sort for part in subterms(target)}
  return not is_open(target) and sorts <= {Sort.NAT, Sort.INT, Sort.PROP}


def holds(target: Term) -> bool:
  """Whether a closed proposition is true; False if it is Undecided."""
  try:
    return evaluate_term(target) is True
  except Undecided:
    return False


def trivial_equality(target: Term) -> bool:
  """Whether `rfl` proves `target`."""
  if target.head == "↔" or target.head in ("=", "≤", "≥", "∣"):
    if canonical(target.args[0]) == canonical(target.args[1]):
      return True
  return target.head == "=" and decidable(target) and holds(target)


def absurd(prop: Term) -> bool:
  """Whether a hypothesis is false by itself, for `contradiction`."""
  if prop == FALSE:
    return True
  if prop.head == "≠":
    return canonical(prop.args[0]) == canonical(prop.args[1])
  return decidable(prop) and holds(negate(prop))
