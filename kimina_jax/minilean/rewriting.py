"""Rewriting: `rw`, the simplifier of norm_num and simp, and push_neg.

`rw` replaces all instances of the first match of one side of an equation by the
other side. The simplifier rewrites a proposition to an equivalent one (given
the rules from hypotheses): closed arithmetic is computed, the units of + · ^
disappear, hypotheses rewrite from left to right, connectives absorb True and
False. It neither searches nor solves equations, and it has no library of
lemmas.
"""

import dataclasses
import fractions
from collections.abc import Iterable, Sequence

from kimina_jax.minilean import arithmetic, proofs
from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.parser import Tree, children_of
from kimina_jax.minilean.semantics import Undecided, Value, evaluate_term
from kimina_jax.minilean.syntax import (
  FALSE,
  TRUE,
  Sort,
  Term,
  canonical,
  formula,
  is_open,
  match_pattern,
  numeral,
  operation,
  show,
  substitute,
  subterms,
)


def rewrite(step: Tree, goal: Goal) -> list[Goal]:
  """Lean's `rw [h, ← k] at place`; closes the target if it became trivial."""
  rules, *location = children_of(step)
  words = [word for tree in location for word in children_of(tree)]
  names = [str(word) for word in words] or ["⊢"]
  for name in names:
    for rule in children_of(rules):
      goal = _rewrite_place(goal, name, rule)
  return [] if "⊢" in names and closes_reducibly(goal.target) else [goal]


def closes_reducibly(target: Term) -> bool:
  """Whether Lean's `with_reducible rfl` proves `target`."""
  if target.head == "=" and target.args[0].sort is Sort.NAT:
    # Lean adds literals of type ℕ here, but unfolds no other operation.
    sides = {part.head for side in target.args for part in subterms(side)}
    if sides <= {"num", "+"}:
      return arithmetic.holds(target)
  return target.head in ("=", "↔") and (
    canonical(target.args[0]) == canonical(target.args[1])
  )


def _rewrite_place(goal: Goal, name: str, rule: Tree) -> Goal:
  *arrow, tree = children_of(rule)
  local = None if name == "⊢" else goal.find(name)
  if name != "⊢" and (local is None or local.is_variable):
    raise Failure(f"Unknown hypothesis `{name}`", rule)
  prop = goal.target if local is None else local.term

  def replaced(left: Term, right: Term, holes: proofs.Holes) -> Term:
    sides = (right, left) if arrow else (left, right)
    return _replaced(prop, *sides, holes, rule)

  new = proofs.use_equation(tree, goal, replaced)
  if name == "⊢":
    return goal.aim(new)
  return goal.keep(
    [Local(name, new) if old is local else old for old in goal.locals]
  )


def _replaced(
  prop: Term, left: Term, right: Term, holes: proofs.Holes, rule: Tree
) -> Term:
  pattern = canonical(left)
  bound = {part.args[0] for part in subterms(prop) if part.head in ("∀", "∃")}
  for part in subterms(prop):
    trial = dict(holes)
    inside = bound.intersection(subterms(part))
    if not inside and match_pattern(pattern, canonical(part), trial):
      filled = {hole: term for hole, term in trial.items() if term is not None}
      if len(filled) < len(trial):
        raise Failure("rw: an argument is not determined", rule)
      key, new = (substitute(side, filled) for side in (left, right))
      return _replace(prop, canonical(key), new)
  raise Failure(
    "Tactic `rewrite` failed: Did not find an occurrence of the pattern\n"
    f"  {show(left)}\nin the target expression\n  {show(prop)}",
    rule,
  )


def _replace(term: Term, key: Term, new: Term) -> Term:
  if canonical(term) == key:
    return new
  if not term.args:
    return term
  args = tuple(_replace(arg, key, new) for arg in term.args)
  return dataclasses.replace(term, args=args)


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
        return literal(evaluate_term(term), term.sort)
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
  """The rules that simp makes of hypotheses: `a = b` rewrites a to b.

  Any other hypothesis rewrites to True.
  """
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
  """The normal form of a value: 3, -3, 2 / 3, -(2 / 3), True or False."""
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
  """Whether `term` is the normal form of its value."""
  if term.head == "neg":
    return term.args[0].head == "num" and term.args[0].value > 0
  if term.head == "/" and term.sort.is_field:
    try:
      return literal(evaluate_term(term), term.sort) == term
    except Undecided:
      return True
  return term.head == "num"


def _connective(term: Term) -> Term | None:
  """One step on a proposition with simplified parts; None if there is none."""
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
  """Moves negations to the leaves of a proposition."""
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
