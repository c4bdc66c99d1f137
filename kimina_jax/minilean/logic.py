"""Logical steps: projections, premises, `intro`, rcases patterns, `subst`.

In: a goal, or a proposition that is proved. Out: the goals after the step, or
the propositions that follow. None of the steps proves anything new.
"""

import itertools

import lark

from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.parser import Tree, children_of
from kimina_jax.minilean.syntax import (
  FALSE,
  Term,
  formula,
  occurs,
  show,
  substitute,
  variable,
)


def project(prop: Term, field: str, tree: Tree | lark.Token) -> Term:
  """The proposition that `.left`, `.1`, `.mp` … of a proof of `prop` proves."""
  match prop.head, field:
    case "∧", ("1" | "left"):
      return prop.args[0]
    case "∧", ("2" | "right"):
      return prop.args[1]
    case "↔", ("1" | "mp"):
      return formula("→", *prop.args)
    case "↔", ("2" | "mpr"):
      return formula("→", *reversed(prop.args))
    case (("=" | "≠" | "↔"), "symm"):
      return formula(prop.head, *reversed(prop.args))
    case "<", "le":
      return formula("≤", *prop.args)
    case "=", "le":
      return formula("≤", *prop.args)
  raise Failure(f"invalid field '{field}' of a proof of\n  {show(prop)}", tree)


def implication(prop: Term) -> tuple[Term, Term] | None:
  """Returns (premise, conclusion) of →, ¬ and ≠; None for others."""
  if prop.head == "→":
    return prop.args[0], prop.args[1]
  if prop.head == "¬":
    return prop.args[0], FALSE
  if prop.head == "≠":
    return formula("=", *prop.args), FALSE
  return None


def introduce(goal: Goal, name: str, node: Tree | lark.Token) -> Goal:
  """Returns the goal after `intro name`."""
  target = goal.target
  if target.head == "∀":
    bound, body = target.args
    term = variable(name, bound.sort)
    inner = goal.assume(Local(name, term, True))
    return inner.aim(substitute(body, {bound: term}))
  premise = implication(target)
  if premise is None:
    raise Failure(
      "Tactic `introN` failed: There are no additional binders or `let` "
      f"bindings in the goal to introduce\n\n{goal.show()}",
      node,
    )
  return goal.assume(Local(name, premise[0])).aim(premise[1])


def mismatch(
  text: str, found: Term | None, expected: Term, tree: Tree
) -> Failure:
  has = "" if found is None else f"\nhas type\n  {show(found)}"
  return Failure(
    f"Type mismatch\n  {text}{has}\n"
    f"but is expected to have type\n  {show(expected)}",
    tree,
  )


PATTERNS = ("named", "equation", "clear", "tuple", "alternatives")

# Names of anonymous locals, which no identifier of the source can equal.
_anonymous = (f"h✝{index}" for index in itertools.count())


def assume(goal: Goal, prop: Term, pattern: Tree) -> list[Goal]:
  """Returns the goals after a proof of `prop` is matched with a pattern."""
  name = next(_anonymous)
  return destructure(goal.assume(Local(name, prop)), name, pattern)


def destructure(goal: Goal, name: str, pattern: Tree) -> list[Goal]:
  """Returns the goals after a hypothesis is replaced by its pattern's parts."""
  local = goal.local(name)
  if local.is_variable:
    raise Failure("rcases: a variable needs a name", pattern)
  rest = goal.keep([other for other in goal.locals if other is not local])
  parts = children_of(pattern)
  match pattern.data:
    case "alternatives":
      return _alternatives(goal, local, pattern)
    case "named":
      return [rest.assume(Local(local_name(parts[0]), local.term))]
    case "clear":
      return [rest]
    case "equation":
      return [substitute_equation(rest, local.term, pattern)]
    case "tuple":
      return _tuple(rest, local.term, pattern)
  raise Failure("unknown pattern", pattern)


def local_name(name: lark.Token | str) -> str:
  return next(_anonymous) if name == "_" else str(name)


def substitute_equation(goal: Goal, prop: Term, node: Tree) -> Goal:
  """Lean's `subst`: replaces a variable by the term that it is equal to."""
  variables = {local.term for local in goal.locals if local.is_variable}
  if prop.head == "=":
    left, right = prop.args
    for old, new in ((right, left), (left, right)):
      if old in variables and not occurs(old, new):
        return _replace(goal, old, new)
  raise Failure(
    "Tactic `subst` failed: invalid equality proof, it is not of the form "
    f"(x = t) or (t = x)\n  {show(prop)}",
    node,
  )


def _replace(goal: Goal, old: Term, new: Term) -> Goal:
  locals = [
    Local(local.name, substitute(local.term, {old: new}), local.is_variable)
    for local in goal.locals
    if local.term != old
  ]
  return goal.keep(locals).aim(substitute(goal.target, {old: new}))


def _alternatives(goal: Goal, local: Local, pattern: Tree) -> list[Goal]:
  first, *others = children_of(pattern)
  if not others:
    return destructure(goal, local.name, first)
  if local.term.head != "∨":
    raise Failure(f"rcases: not a disjunction\n  {show(local.term)}", pattern)
  rest = goal.keep([other for other in goal.locals if other is not local])
  left, right = local.term.args
  tail = Tree("alternatives", others, pattern.meta)
  return [
    *assume(rest.aim(goal.target, "inl"), left, first),
    *assume(rest.aim(goal.target, "inr"), right, tail),
  ]


def _tuple(goal: Goal, prop: Term, pattern: Tree) -> list[Goal]:
  first, *others = children_of(pattern)
  if not others:
    return assume(goal, prop, first)
  tail = others[0]
  if len(others) > 1:
    tail = Tree("tuple", others, pattern.meta)
  if prop.head == "∃":
    return _witness(goal, prop, first, tail)
  if prop.head not in ("∧", "↔"):
    raise Failure(f"rcases: not a pair\n  {show(prop)}", pattern)
  parts = list(prop.args)
  if prop.head == "↔":
    parts = [Term("→", prop.args), Term("→", prop.args[::-1])]
  # Both are hypotheses first, so that `rfl` in one also rewrites the other.
  names = [next(_anonymous), next(_anonymous)]
  goal = goal.assume(*map(Local, names, parts))
  return [
    done
    for half in destructure(goal, names[0], first)
    for done in destructure(half, names[1], tail)
  ]


def _witness(goal: Goal, prop: Term, first: Tree, tail: Tree) -> list[Goal]:
  bound, body = prop.args
  while first.data == "alternatives" and len(children_of(first)) == 1:
    first = children_of(first)[0]
  if first.data != "named":
    raise Failure("rcases: a witness needs a name", first)
  name = local_name(children_of(first)[0])
  term = variable(name, bound.sort)
  goal = goal.assume(Local(name, term, True))
  return assume(goal, substitute(body, {bound: term}), tail)
