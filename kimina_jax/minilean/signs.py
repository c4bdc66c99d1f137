"""positivity: the sign of an expression from the signs of its parts.

In: hypotheses and a target `0 < e`, `0 ≤ e` or `e ≠ 0`. Out: whether the
structure of e shows it. Never: a comparison of two expressions.
"""

from collections.abc import Sequence

from kimina_jax.minilean.semantics import Undecided, evaluate
from kimina_jax.minilean.syntax import (
  Sort,
  Term,
  canonical,
  formula,
  is_open,
  numeral,
)

# What is known of a number: "<" it is positive, "≤" it is not negative,
# "≠" it is not zero, "" nothing.


def positivity(facts: Sequence[Term], target: Term) -> bool:
  """Whether the target follows from the signs of atoms, as `facts` say."""
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
  if not is_open(term):
    return _value_sign(term)
  match term.head, term.args:
    case "+", (a, b):
      signs = {_sign(facts, a), _sign(facts, b)}
      if not signs <= {"<", "≤"}:
        return ""
      return "<" if "<" in signs else "≤"
    case "*", (a, b):
      return _product(_sign(facts, a), _sign(facts, b))
    case "/", (a, b) if term.sort.is_field:
      return _product(_sign(facts, a), _sign(facts, b))
    case "^", (base, exponent):
      return _power(_sign(facts, base), exponent)
    case "cast", (inner,):
      return _sign(facts, inner)
  return _assumed(facts, term)


def _value_sign(term: Term) -> str:
  try:
    value = evaluate(term)
  except Undecided:
    return ""
  return "<" if value > 0 else "≤" if value == 0 else "≠"


def _product(a: str, b: str) -> str:
  if "" in (a, b):
    return ""
  if "≠" in (a, b):
    return "" if "≤" in (a, b) else "≠"
  return "≤" if "≤" in (a, b) else "<"


def _power(base: str, exponent: Term) -> str:
  if base == "<" or exponent.head != "num":
    return base if base in ("<", "≤") else ""
  if exponent.value == 0:
    return "<"
  if exponent.value % 2 == 0:
    return "<" if base == "≠" else "≤"
  return base


def _assumed(facts: Sequence[Term], term: Term) -> str:
  zero, key = numeral(0, term.sort), canonical(term)
  known = {canonical(fact) for fact in facts}
  if formula("<", zero, key) in known:
    return "<"
  if canonical(formula("≠", key, zero)) in known:
    return "≠"
  if term.sort is Sort.NAT or formula("≤", zero, key) in known:
    return "≤"
  return ""
