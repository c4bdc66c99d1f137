"""minilean's semantics of statements, against Python's arithmetic."""

import fractions
import itertools
import math

import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.minilean import (
  arithmetic,
  elaborate,
  library,
  parser,
  polynomial,
  rewriting,
  semantics,
)
from kimina_jax.minilean.syntax import (
  Sort,
  numeral,
  operation,
  show,
  substitute,
  subterms,
  variable,
)


def _prop(text: str, scope=None):
  (tree,) = parser.parse_commands(f"def p : Prop := {text}")
  return elaborate.proposition(tree.children[-1], scope or {})


@pytest.mark.parametrize(
  "true",
  [
    "3 - 5 = 0",
    "(3 : ℤ) - 5 = -2",
    "7 / 2 = 3",
    "7 / 0 = 0",
    "7 % 0 = 7",
    "(-7 : ℤ) / 2 = -4",
    "(-7 : ℤ) % 2 = 1",
    "(7 : ℤ) / (-2) = -3",
    "(7 : ℤ) % (-2) = 1",
    "(-7 : ℤ) / (-2) = 4",
    "(-7 : ℤ) % (-2) = 1",
    "(-7 : ℤ) / 0 = 0 ∧ (-7 : ℤ) % 0 = -7",
    "(7 : ℚ) / 2 = 3 + 1 / 2",
    "(7 : ℝ) / 0 = 0",
    "(0 : ℤ) ^ 0 = 1 ∧ 0 ^ 3 = 0",
    "-(2 : ℤ) ^ 2 = -4 ∧ (-2 : ℤ) ^ 2 = 4",
    "2 ^ 3 ^ 2 = 512",
    "2 - 1 + 3 = 4 ∧ 2 - (1 + 3) = 0",
    "8 / 4 / 2 = 1 ∧ 2 * 7 / 3 = 4 ∧ 7 / 3 * 2 = 4",
    "1 - 2 + 2 = 2",
    "((3 - 5 : ℕ) : ℤ) = 0 ∧ (3 : ℤ) - (5 : ℕ) = -2",
    "(7 / 2 : ℕ) = (3 : ℝ) ∧ ((7 / 2 : ℕ) : ℝ) = 3",
    "0 ∣ 0 ∧ 3 ∣ 6 ∧ ¬0 ∣ 6 ∧ (-3 : ℤ) ∣ 6",
    "1 = 2 → 3 = 4",
    "¬(1 = 1 ∧ 1 = 2)",
    "1 = 2 ∨ 2 = 2 ∧ 3 = 3",
    "(1 = 2 ↔ 3 = 4) ∧ (True → ¬False)",
    "1 ≠ 2 ∧ 2 > 1 ∧ 2 ≥ 2 ∧ 1 ≤ 2 ∧ 1 < 2",
  ],
)
def test_closed_statements_of_lean(true):
  assert semantics.evaluate_term(_prop(true)) is True


_OPERATORS = {
  "+": lambda s, a, b: a + b,
  "*": lambda s, a, b: a * b,
  "-": lambda s, a, b: max(0, a - b) if s is Sort.NAT else a - b,
  "/": lambda s, a, b: (
    (fractions.Fraction(a) / b if b else fractions.Fraction(0))
    if s.is_field
    else (0 if b == 0 else math.floor(fractions.Fraction(a, b)))
    if b >= 0
    else -math.floor(fractions.Fraction(a, -b))
  ),
  "%": lambda s, a, b: a - b * _OPERATORS["/"](s, a, b),
}


@pytest.mark.parametrize("sort", [Sort.NAT, Sort.INT, Sort.RAT, Sort.REAL])
@pytest.mark.parametrize("head", "+-*/%")
def test_operations_agree_with_python_and_z3(head, sort):
  if head == "%" and sort.is_field:
    return
  low = 0 if sort is Sort.NAT else -7
  x = variable("x", sort)
  for a, b in itertools.product(range(low, 8), repeat=2):
    expected = _OPERATORS[head](sort, a, b)
    left, right = (rewriting.literal(value, sort) for value in (a, b))
    assert semantics.evaluate_term(operation(head, left, right)) == expected
    if sort.is_field:
      continue
    # z3 must find the same for an unknown that equals a.
    encoding = semantics.Encoding()
    result = encoding.number(operation(head, x, right))
    solver = z3.SimpleSolver()
    solver.from_string(
      "".join(f"(declare-const {name} Int)" for name in encoding.atoms.values())
      + f"(assert (= {encoding.number(x)} {semantics.smt_integer(a)}))"
      f"(assert (distinct {result} {semantics.smt_integer(expected)}))"
    )
    assert solver.check() == z3.unsat, (a, head, b)


def _expressions(sort):
  leaf = st.sampled_from(["x", "y"]) | st.integers(0, 5).map(str)
  heads = ["+", "-", "*"] + (["/", "%"] if sort.is_integral else ["/"])

  def grow(inner):
    binary = st.tuples(inner, st.sampled_from(heads), inner).map(
      lambda t: f"({t[0]} {t[1]} {t[2]})"
    )
    power = st.tuples(inner, st.integers(0, 3)).map(
      lambda t: f"({t[0]} ^ {t[1]})"
    )
    negative = inner.map(lambda t: f"(-{t})")
    return binary | power | (binary if sort is Sort.NAT else negative)

  return st.recursive(leaf, grow, max_leaves=6)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_normal_forms_keep_the_value(data):
  sort = data.draw(st.sampled_from([Sort.NAT, Sort.INT, Sort.RAT, Sort.REAL]))
  text = data.draw(_expressions(sort))
  scope = {name: variable(name, sort) for name in "xy"}
  term = _prop(f"({text} : {sort}) = 0", scope).args[0]
  values = {
    scope[name]: rewriting.literal(data.draw(st.integers(0, 4)), sort)
    for name in "xy"
  }
  try:
    expected = semantics.evaluate_term(substitute(term, values))
    normal = polynomial.polynomial(term, casts=True)
    simple = rewriting.Simplifier([], True).simplify(term)
  except semantics.Undecided:
    return
  assert semantics.evaluate_term(substitute(simple, values)) == expected
  total = fractions.Fraction(0)
  for monomial, coefficient in normal.terms.items():
    factors = [
      fractions.Fraction(semantics.evaluate_term(substitute(atom, values)))
      ** power
      for atom, power in monomial
    ]
    total += coefficient * math.prod(factors)
  assert total == expected


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_printing_is_read_back(data):
  sort = data.draw(st.sampled_from([Sort.NAT, Sort.INT, Sort.REAL]))
  left, right = data.draw(_expressions(sort)), data.draw(_expressions(sort))
  scope = {name: variable(name, sort) for name in "xy"}
  link = data.draw(st.sampled_from(["∧", "∨", "→", "↔"]))
  prop = _prop(f"(x = {left} {link} ¬{right} < y) {link} x ≤ y", scope)
  assert _prop(show(prop), scope) == prop


@pytest.mark.parametrize(
  ("text", "printed"),
  [
    ("n = z", "↑n = z"),
    ("n + z = r", "↑n + ↑z = r"),
    ("(n + n : ℝ) = r", "↑n + ↑n = r"),
    ("((n + n : ℕ) : ℝ) = r", "↑(n + n) = r"),
    ("(n : ℤ) - 2 = 0", "↑n - 2 = 0"),
    ("n ^ 2 = z ^ n", "↑n ^ 2 = z ^ n"),
    ("2 ∣ z", "2 ∣ z"),
    ("z ∣ n", "z ∣ ↑n"),
    ("∃ k, z = 2 * k", "∃ k, z = 2 * k"),
    ("∀ a > 0, a + z > z", "∀ (a : ℤ), a > 0 → a + z > z"),
    ("∃ a b : ℕ, a < b", "∃ a, ∃ b, a < b"),
    ("¬n = 1 ∧ (n = 2 → z = 3)", "¬n = 1 ∧ (n = 2 → z = 3)"),
    ("-z ^ 2 < (-z) ^ 2", "-z ^ 2 < (-z) ^ 2"),
    ("z - (z - 1) = z - z + 1", "z - (z - 1) = z - z + 1"),
  ],
)
def test_coercions(text, printed):
  scope = {
    "n": variable("n", Sort.NAT),
    "z": variable("z", Sort.INT),
    "r": variable("r", Sort.REAL),
  }
  assert show(_prop(text, scope)) == printed


def test_untyped_binders_take_the_type_of_their_use():
  scope = {"z": variable("z", Sort.INT)}
  for text, sort in [
    ("∃ k, z = 2 * k", Sort.INT),
    ("∃ k, k = 3 ∧ k = z", Sort.INT),
    ("∃ k, k = 3", Sort.NAT),
    ("∀ k, ∃ j, (k : ℝ) < j", Sort.REAL),
  ]:
    bound = [t for t in subterms(_prop(text, scope)) if t.head == "var"]
    assert {t.sort for t in bound if t.name != "z"} >= {sort}, text


@pytest.mark.parametrize(
  "bad",
  [
    "-1 = 0",
    "z = u",
    "n % 2 = r",
    "r % 2 = 0",
    "2 ∣ r",
    "n ∣ z",
    "2 ^ z = 4",
    "(r : ℤ) = 1",
    "z",
    "n = 1 = 2",
    "∀ h : n = 1, h = 2",
    "∃ (h : n = 1), n = 1",
    "True = True",
    "↑n = ↑n",
    "n < 1 + (2 < 3)",
    "1.5 = 2",
    "|z| = 1",
  ],
)
def test_what_lean_or_the_fragment_refuses(bad):
  scope = {
    "n": variable("n", Sort.NAT),
    "z": variable("z", Sort.INT),
    "r": variable("r", Sort.REAL),
  }
  with pytest.raises((elaborate.Failure, AttributeError)):
    _prop(bad, scope)


@pytest.mark.parametrize("name", library.STATEMENTS)
def test_lemmas_hold(name):
  """Each instance at small values of each type is true."""
  for theorem in library.lemmas(name):
    statement, free = theorem.statement, []
    while statement.head == "∀":
      free.append(statement.args[0])
      statement = statement.args[1]
    field = free[0].sort.is_field
    values = [0, 1, 2, 5] if free[0].sort is Sort.NAT else [-2, -1, 0, 1, 3]
    points = [fractions.Fraction(v, 2) for v in values] if field else values
    for point in itertools.product(points, repeat=len(free)):
      literals = [rewriting.literal(v, free[0].sort) for v in point]
      at = dict(zip(free, literals, strict=True))
      assert semantics.evaluate_term(substitute(statement, at)) is True


def test_numbers_that_are_too_large_are_undecided():
  big = operation("^", numeral(10, Sort.NAT), numeral(10**9, Sort.NAT))
  with pytest.raises(semantics.Undecided):
    semantics.evaluate_term(big)
  one = operation("^", numeral(1, Sort.NAT), numeral(10**9, Sort.NAT))
  assert semantics.evaluate_term(one) == 1


def test_z3_stops_at_its_count_of_steps():
  """A knapsack far beyond the limit is a failure, the same one each time."""
  weights = [2**40 + 3**k for k in range(25)]
  names = [variable(f"x{k}", Sort.INT) for k in range(25)]
  total = numeral(sum(weights) // 2 + 1, Sort.INT)
  terms = [
    operation("*", numeral(w, Sort.INT), x)
    for w, x in zip(weights, names, strict=True)
  ]
  left = terms[0]
  for term in terms[1:]:
    left = operation("+", left, term)
  facts = [_prop("0 ≤ x ∧ x ≤ 1", {"x": x}) for x in names]
  target = _prop("a ≠ b", {"a": left, "b": total})
  answers = [arithmetic.omega(facts, target) for _ in range(2)]
  assert answers == [False, False]
