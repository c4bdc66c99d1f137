"""Taking hypotheses apart: rcases patterns and substitution.

In: a goal, the name of one of its hypotheses and a pattern. Out: a goal for
each case. Never: a proof of anything new.
"""

import itertools

import lark

from kimina_jax.minilean.elaborate import Failure, Tree
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.syntax import (
  Term,
  occurs,
  show,
  substitute,
  variable,
)

PATTERNS = ("named", "equation", "clear", "tuple", "alternatives")

# No identifier ends so: what has no name cannot be named.
_anonymous = (f"h✝{index}" for index in itertools.count())


def assume(goal: Goal, prop: Term, pattern: Tree) -> list[Goal]:
  """The goals after a proof of `prop` met the pattern."""
  name = next(_anonymous)
  return destructure(goal.assume(Local(name, prop)), name, pattern)


def destructure(goal: Goal, name: str, pattern: Tree) -> list[Goal]:
  """The goals after the hypothesis `name` met the pattern, and is gone."""
  local = goal.find(name)
  if local.is_variable:
    raise Failure("rcases: a variable needs a name", pattern)
  rest = goal.keep([other for other in goal.locals if other is not local])
  parts = pattern.children
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
  """Lean's `subst`: a variable that equals a term without it disappears."""
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
  first, *others = pattern.children
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
  first, *others = pattern.children
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
  # Both wait as hypotheses, so that `rfl` in one reaches the other.
  names = [next(_anonymous), next(_anonymous)]
  goal = goal.assume(*map(Local, names, parts))
  return [
    done
    for half in destructure(goal, names[0], first)
    for done in destructure(half, names[1], tail)
  ]


def _witness(goal: Goal, prop: Term, first: Tree, tail: Tree) -> list[Goal]:
  bound, body = prop.args
  while first.data == "alternatives" and len(first.children) == 1:
    first = first.children[0]
  if first.data != "named":
    raise Failure("rcases: a witness needs a name", first)
  name = local_name(first.children[0])
  term = variable(name, bound.sort)
  goal = goal.assume(Local(name, term, True))
  return assume(goal, substitute(body, {bound: term}), tail)
