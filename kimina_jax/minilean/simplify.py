"""Rewriting to a normal form: what norm_num and simp share.

In: a proposition and rewriting rules from hypotheses. Out: an equivalent
proposition. Never: a step that is not an equivalence (given the rules).

Closed arithmetic is computed, the units of + · ^ disappear, hypotheses rewrite
from left to right, connectives swallow True and False. There is no search, no
library of lemmas, and no solving of equations.
"""

import dataclasses
import fractions
from collections.abc import Iterable, Sequence

from kimina_jax.minilean.semantics import (
  Undecided,
  Value,
  evaluate,
)
from kimina_jax.minilean.syntax import (
  FALSE,
  TRUE,
  Sort,
  Term,
  canonical,
  formula,
  is_open,
  numeral,
  operation,
)

MAX_REWRITES = 200

Rule = tuple[Term, Term]  # canonical left side, what replaces it


@dataclasses.dataclass
class Simplifier:
  """Rewrites terms with a set of rules, for a limited number of steps.

  Attributes:
    rules: from `rules_of`.
    computes_fields: compute over ℚ and ℝ too (norm_num does, simp does not).
    steps_left: rewrites until Undecided.
  """

  rules: Sequence[Rule]
  computes_fields: bool
  steps_left: int = MAX_REWRITES

  def simplify(self, term: Term) -> Term:
    """A simpler term, equal to `term` (equivalent, for propositions).

    Raises:
      Undecided: the rules rewrite without end.
    """
    rewritten = self._rewrite(term)
    if rewritten is not None:
      return self.simplify(rewritten)
    if not term.args:
      return term
    if not is_open(term) and self._computes(term):
      try:
        return literal(evaluate(term), term.sort)
      except Undecided:
        pass
    if term.head in ("∀", "∃"):
      body = self.simplify(term.args[1])
      return body if body in (TRUE, FALSE) else self._with(term, 1, body)
    args = tuple(self.simplify(arg) for arg in term.args)
    changed = args != term.args
    term = dataclasses.replace(term, args=args)
    step = _connective(term) if term.sort is Sort.PROP else _unit(term)
    if step is not None or changed:
      return self.simplify(term if step is None else step)
    return term

  def _with(self, term: Term, index: int, arg: Term) -> Term:
    args = (*term.args[:index], arg, *term.args[index + 1 :])
    return dataclasses.replace(term, args=args)

  def _computes(self, term: Term) -> bool:
    if _is_literal(term):
      return False
    sort = term.sort
    if sort is Sort.PROP and term.args:
      sort = term.args[0].sort
    if sort is Sort.PROP:
      return False
    return self.computes_fields or sort.is_integral

  def _rewrite(self, term: Term) -> Term | None:
    if not self.rules or term in (TRUE, FALSE):
      return None
    key = canonical(term)
    for left, right in self.rules:
      if left == key and right != term:
        self.steps_left -= 1
        if self.steps_left < 0:
          raise Undecided("the rules loop")
        return right
    return None


def rules_of(props: Iterable[Term]) -> list[Rule]:
  """How simp uses hypotheses: `a = b` rewrites a, others become True."""
  rules: list[Rule] = []
  for prop in props:
    if prop.head == "∧":
      rules += rules_of(prop.args)
    elif prop.head in ("=", "↔"):
      rules.append((canonical(prop.args[0]), prop.args[1]))
    elif prop.head in ("¬", "≠"):
      inner = prop.args[0] if prop.head == "¬" else formula("=", *prop.args)
      rules += [(canonical(inner), FALSE), (canonical(prop), TRUE)]
    elif prop not in (TRUE, FALSE):
      rules.append((canonical(prop), TRUE))
  return rules


def literal(value: Value, sort: Sort) -> Term:
  """The normal form of a value: 3, -3, 2 / 3, -(2 / 3), True, False."""
  if sort is Sort.PROP:
    return TRUE if value else FALSE
  value = fractions.Fraction(value)
  term = numeral(abs(value.numerator), sort)
  if value < 0:
    term = operation("neg", term)
  if value.denominator > 1:
    term = operation("/", term, numeral(value.denominator, sort))
  return term


def _is_literal(term: Term) -> bool:
  """Whether computing `term` would only give it back."""
  if term.head == "neg":
    return term.args[0].head == "num" and term.args[0].value > 0
  if term.head == "/" and term.sort.is_field:
    try:
      return literal(evaluate(term), term.sort) == term
    except Undecided:
      return True
  return term.head == "num"


def _connective(term: Term) -> Term | None:
  """One step on a proposition whose parts are simple; None if there is none."""
  match term.head, term.args:
    case (("=" | "≤" | "≥" | "↔" | "∣"), (a, b)) if canonical(a) == canonical(
      b
    ):
      return TRUE
    case (("≠" | "<" | ">"), (a, b)) if canonical(a) == canonical(b):
      return FALSE
    case "¬", (p,):
      return _negation(p)
    case "∧", (p, q):
      return _absorb(p, q, unit=TRUE, zero=FALSE)
    case "∨", (p, q):
      return _absorb(p, q, unit=FALSE, zero=TRUE)
    case "→", (p, q):
      return _implication(p, q)
    case "↔", (p, q) if TRUE in (p, q):
      return q if p == TRUE else p
    case "↔", (p, q) if FALSE in (p, q):
      return formula("¬", q if p == FALSE else p)
  return None


def _negation(prop: Term) -> Term | None:
  if prop in (TRUE, FALSE):
    return FALSE if prop == TRUE else TRUE
  if prop.head == "¬":
    return prop.args[0]
  flipped = {"<": "≤", "≤": "<", ">": "≥", "≥": ">"}
  if prop.head in flipped:
    return formula(flipped[prop.head], prop.args[1], prop.args[0])
  return None


def _absorb(p: Term, q: Term, *, unit: Term, zero: Term) -> Term | None:
  if zero in (p, q):
    return zero
  if unit in (p, q):
    return q if p == unit else p
  return p if canonical(p) == canonical(q) else None


def _implication(p: Term, q: Term) -> Term | None:
  if q == TRUE or p == FALSE or canonical(p) == canonical(q):
    return TRUE
  if p == TRUE:
    return q
  return formula("¬", p) if q == FALSE else None


def _unit(term: Term) -> Term | None:
  """One step with a unit or a zero of an operation; None if there is none."""
  match term.head, term.args:
    case "+", (a, b):
      return b if _is(a, 0) else a if _is(b, 0) else None
    case "-", (a, b):
      if canonical(a) == canonical(b):
        return numeral(0, term.sort)
      return a if _is(b, 0) else None
    case "*", (a, b):
      if _is(a, 0) or _is(b, 0):
        return numeral(0, term.sort)
      return b if _is(a, 1) else a if _is(b, 1) else None
    case "/", (a, b):
      return a if _is(b, 1) else b if _is(b, 0) else a if _is(a, 0) else None
    case "^", (a, b):
      if _is(b, 0) or _is(a, 1):
        return numeral(1, term.sort)
      return a if _is(b, 1) else None
    case "neg", (a,):
      return a.args[0] if a.head == "neg" else None
  return None


def _is(term: Term, value: int) -> bool:
  return term.head == "num" and term.value == value


def push_negation(prop: Term) -> Term:
  """An equivalent proposition whose negations stand at the leaves."""
  if prop.head != "¬":
    if prop.sort is not Sort.PROP or prop.head in ("var", "num"):
      return prop
    args = tuple(push_negation(arg) for arg in prop.args)
    return dataclasses.replace(prop, args=args)
  inner = prop.args[0]
  match inner.head, inner.args:
    case "¬", (p,):
      return push_negation(p)
    case "∧", (p, q):
      return formula("→", push_negation(p), push_negation(formula("¬", q)))
    case (("∨" | "→"), (p, q)):
      left = formula("¬", p) if inner.head == "∨" else p
      return formula("∧", push_negation(left), push_negation(formula("¬", q)))
    case (("∀" | "∃"), (bound, body)):
      other = "∃" if inner.head == "∀" else "∀"
      return formula(other, bound, push_negation(formula("¬", body)))
    case "=", (a, b):
      return formula("≠", a, b)
    case "≠", (a, b):
      return formula("=", a, b)
  return _negation(inner) or prop
