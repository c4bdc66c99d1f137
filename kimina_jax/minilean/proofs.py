"""Proof terms: checking them against a target, and inferring what they prove.

In: trees of terms and a goal. Out: the goals that `?_` leaves open, or the
proposition that a term proves. The environment is not changed.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import lark

from kimina_jax.minilean import arithmetic, elaborate, library
from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import Goal, Theorem
from kimina_jax.minilean.logic import (
  implication,
  introduce,
  mismatch,
  project,
)
from kimina_jax.minilean.parser import Tree, children_of
from kimina_jax.minilean.syntax import (
  TRUE,
  Term,
  canonical,
  formula,
  match_pattern,
  occurs,
  same,
  show,
  substitute,
  variable,
)

# Implicit argument -> the term that it has been matched with.
Holes = dict[Term, Term | None]
Result = TypeVar("Result")


def check_term(tree: Tree, goal: Goal) -> list[Goal]:
  """Proves the goal by a term; returns the goals that its `?_` leave open."""
  match tree.data, children_of(tree):
    case "by", [_]:
      goal.proof.run(tree, goal)
      return []
    case "hole", []:
      return [goal]
    case "sorry", []:
      goal.proof.admit(goal, tree)
      return []
    case "rfl", []:
      if not arithmetic.trivial_equality(goal.target):
        raise mismatch("rfl", None, goal.target, tree)
      return []
    case "trivial", [] if goal.target == TRUE:
      return []
    case "anonymous", parts:
      return _check_anonymous(parts, goal)
    case "function", [*patterns, body]:
      return _check_function(patterns, body, goal)
    case "application", [head, body] if side := _injection(head, goal):
      return check_term(body, goal.aim(side))
    case "ascription", [body, prop] if elaborate.sort_of(prop) is None:
      return check_term(body, restated(goal, prop))
    case "show_from", [prop, body]:
      return check_term(body, restated(goal, prop))
  return _check_inferred(tree, goal)


def infer(tree: Tree, goal: Goal) -> Term:
  """Infers the proposition that a term proves."""
  match tree.data, children_of(tree):
    case "projection", [body, field]:
      return project(infer(body, goal), str(field)[1:], tree)
    case "show_from", [prop, body]:
      return _infer_stated(prop, body, goal)
    case "ascription", [body, prop]:
      return _infer_stated(prop, body, goal)
  return _apply(tree, goal, lambda found, holes: _filled(found, holes, tree))


def closed(goals: Sequence[Goal], tree: Tree) -> None:
  """Raises a Failure if a term left goals open where none may be."""
  if goals:
    raise Failure(
      f"don't know how to synthesize placeholder\ncontext:\n{goals[0].show()}",
      tree,
    )


def apply_term(tree: Tree, goal: Goal) -> list[Goal]:
  """Lean's `apply`: matches the conclusion and leaves the premises open."""

  def open_premises(statement: Term, holes: Holes) -> list[Goal]:
    return [
      goal.aim(premise)
      for premise in _premises(statement, holes, goal.target, tree)
    ]

  return _apply(tree, goal, open_premises)


def use_equation(
  tree: Tree, goal: Goal, then: Callable[[Term, Term, Holes], Result]
) -> Result:
  """Calls `then` with the sides of the equation (or ↔) that a term proves."""

  def split(statement: Term, holes: Holes) -> Result:
    while statement.head == "∀":
      hole, statement = _open_binder(statement)
      holes[hole] = None
    if statement.head not in ("=", "↔"):
      raise Failure(f"rw: not an equation\n  {show(statement)}", tree)
    left, right = statement.args
    return then(left, right, holes)

  return _apply(tree, goal, split)


def restated(goal: Goal, prop: Tree) -> Goal:
  """Restates the target as `prop`, which has to be the same."""
  stated = elaborate.proposition(prop, goal.scope())
  if not same(stated, goal.target):
    raise mismatch("this term", stated, goal.target, prop)
  return goal.aim(stated)


def _check_anonymous(parts: Sequence[Tree], goal: Goal) -> list[Goal]:
  target = goal.target
  first, *rest = parts
  if target.head == "∃" and rest:
    bound, body = target.args
    witness = elaborate.value(first, goal.scope(), bound.sort)
    return _check_rest(rest, goal.aim(substitute(body, {bound: witness})))
  if target.head == "∧" and rest:
    left = check_term(first, goal.aim(target.args[0]))
    return left + _check_rest(rest, goal.aim(target.args[1]))
  if target.head == "↔" and len(rest) == 1:
    forward, back = formula("→", *target.args), formula("→", *target.args[::-1])
    return check_term(first, goal.aim(forward)) + check_term(
      rest[0], goal.aim(back)
    )
  raise Failure(
    "invalid constructor ⟨...⟩, the expected type is\n  " + show(target), first
  )


def _check_rest(parts: Sequence[Tree], goal: Goal) -> list[Goal]:
  """⟨a, b, c⟩ is ⟨a, ⟨b, c⟩⟩."""
  if len(parts) == 1:
    return check_term(parts[0], goal)
  return _check_anonymous(parts, goal)


def _check_function(
  patterns: Sequence[Tree], body: Tree, goal: Goal
) -> list[Goal]:
  for pattern in patterns:
    if pattern.data != "named":
      raise Failure("only names are allowed after fun", pattern)
    goal = introduce(goal, str(children_of(pattern)[0]), pattern)
  return check_term(body, goal)


def _injection(head: Tree, goal: Goal) -> Term | None:
  """The side of a disjunction that `Or.inl` or `Or.inr` chooses."""
  names = {"Or.inl": 0, "Or.inr": 1}
  if head.data != "name" or goal.target.head != "∨":
    return None
  side = names.get(str(children_of(head)[0]))
  return None if side is None else goal.target.args[side]


def _infer_stated(prop: Tree, body: Tree, goal: Goal) -> Term:
  stated = elaborate.proposition(prop, goal.scope())
  closed(check_term(body, goal.aim(stated)), body)
  return stated


def _check_inferred(tree: Tree, goal: Goal) -> list[Goal]:
  def fits(statement: Term, holes: Holes) -> list[Goal]:
    if not match_pattern(canonical(statement), canonical(goal.target), holes):
      raise mismatch("this term", statement, goal.target, tree)
    _filled(statement, holes, tree)
    return []

  return _apply(tree, goal, fits)


def _premises(
  statement: Term, holes: Holes, target: Term, tree: Tree
) -> list[Term]:
  """The premises of `statement` when its conclusion is `target`."""
  premises: list[Term] = []
  while not match_pattern(
    canonical(statement), canonical(target), trial := dict(holes)
  ):
    step = implication(statement)
    if statement.head == "∀":
      hole, statement = _open_binder(statement)
      holes[hole] = None
    elif step is not None:
      premises.append(step[0])
      statement = step[1]
    else:
      raise mismatch("apply", statement, target, tree)
  return [_filled(premise, trial, tree) for premise in premises]


def _filled(prop: Term, holes: Holes, tree: Tree) -> Term:
  filled = {hole: term for hole, term in holes.items() if term is not None}
  if len(filled) < len(holes):
    raise Failure("don't know how to synthesize an implicit argument", tree)
  return substitute(prop, filled)


def _open_binder(statement: Term) -> tuple[Term, Term]:
  """Replaces a binder's variable by a hole; gives the hole and the body."""
  bound, body = statement.args
  hole = variable("", bound.sort)
  return hole, substitute(body, {bound: hole})


def _apply(
  tree: Tree, goal: Goal, then: Callable[[Term, Holes], Result]
) -> Result:
  """Calls `then` with an application's statement and implicit arguments.

  If the head has several meanings, the first one without a Failure is taken.
  """
  arguments: list[Tree] = []
  head = tree
  while head.data == "application":
    head, argument = children_of(head)
    arguments.insert(0, argument)
  failures: list[Failure] = []
  for theorem in _candidates(head, goal):
    try:
      result = then(*_apply_to(theorem, arguments, goal))
    except Failure as failure:
      failures.append(failure)
    else:
      goal.proof.axioms |= theorem.axioms
      return result
  raise failures[0]


def _apply_to(
  theorem: Theorem, arguments: list[Tree], goal: Goal
) -> tuple[Term, Holes]:
  statement = theorem.statement
  holes: Holes = {}
  implicit = list(theorem.implicit)
  for argument in [*arguments, None]:
    while implicit and implicit[0] and statement.head == "∀":
      hole, statement = _open_binder(statement)
      holes[hole] = None
      del implicit[0]
    if argument is not None:
      statement = _instantiate(statement, argument, holes, goal)
      del implicit[:1]
  return statement, holes


def _instantiate(
  statement: Term,
  argument: Tree,
  holes: Holes,
  goal: Goal,
) -> Term:
  """Applies `statement` to an explicit argument; may fill holes."""
  if statement.head == "∀":
    bound, body = statement.args
    if argument.data == "name" and children_of(argument)[0] == "_":
      hole, body = _open_binder(statement)
      holes[hole] = None
      return body
    term = elaborate.value(argument, goal.scope(), bound.sort)
    return substitute(body, {bound: term})
  parts = implication(statement)
  if parts is None:
    raise Failure(f"Function expected, got a proof of\n  {show(statement)}")
  premise = substitute(
    parts[0], {hole: term for hole, term in holes.items() if term is not None}
  )
  if any(occurs(hole, premise) for hole, term in holes.items() if term is None):
    found = infer(argument, goal)
    if not match_pattern(canonical(premise), canonical(found), holes):
      raise mismatch("the argument", found, premise, argument)
  else:
    closed(check_term(argument, goal.aim(premise)), argument)
  return parts[1]


def _candidates(head: Tree, goal: Goal) -> list[Theorem]:
  """The theorems that the head of an application may mean."""
  if head.data == "explicit_name":
    found = _named(children_of(head)[0], goal)
    return [dataclasses.replace(theorem, implicit=()) for theorem in found]
  if head.data == "name":
    return _named(children_of(head)[0], goal)
  if head.data in ("projection", "ascription", "show_from"):
    return [Theorem(infer(head, goal), (), frozenset())]
  raise Failure("not a proof of minilean's fragment", head)


def _named(name: lark.Token, goal: Goal) -> list[Theorem]:
  if name == "True.intro":
    return [Theorem(TRUE, (), frozenset())]
  first, *fields = str(name).split(".")
  local = goal.find(first)
  if name == "_":
    raise Failure("don't know how to synthesize placeholder", name)
  if local is not None and not local.is_variable:
    prop = local.term
    for field in fields:
      prop = project(prop, field, name)
    return [Theorem(prop, (), frozenset())]
  if local is None and str(name) in goal.proof.theorems:
    return [goal.proof.theorems[str(name)]]
  if local is None and (known := library.lemmas(str(name))):
    return known
  raise Failure(f"Unknown identifier `{name}`", name)
