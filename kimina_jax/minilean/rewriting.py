"""rw: replacing one side of an equation by the other.

In: a goal, equations and a place. Out: the goal with all instances of the
first match replaced. Never: a search for more than that match.
"""

import dataclasses

from kimina_jax.minilean import arithmetic, proofs
from kimina_jax.minilean.elaborate import Failure, Tree
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.syntax import (
  Sort,
  Term,
  canonical,
  match,
  show,
  substitute,
  subterms,
)


def rewrite(step: Tree, goal: Goal) -> list[Goal]:
  """Lean's `rw [h, ← k] at place`; closes the target if it became trivial."""
  rules, *location = step.children
  names = [str(word) for tree in location for word in tree.children] or ["⊢"]
  for name in names:
    for rule in rules.children:
      goal = _rewrite_place(goal, name, rule)
  return [] if "⊢" in names and closes(goal.target) else [goal]


def closes(target: Term) -> bool:
  """Whether Lean's `with_reducible rfl` proves `target`."""
  if target.head == "=" and target.args[0].sort is Sort.NAT:
    # It adds literals of type ℕ, but unfolds no other operation.
    sides = {part.head for side in target.args for part in subterms(side)}
    if sides <= {"num", "+"}:
      return arithmetic.holds(target)
  return target.head in ("=", "↔") and (
    canonical(target.args[0]) == canonical(target.args[1])
  )


def _rewrite_place(goal: Goal, name: str, rule: Tree) -> Goal:
  *arrow, tree = rule.children
  local = goal.find(name)
  if name != "⊢" and (local is None or local.is_variable):
    raise Failure(f"Unknown hypothesis `{name}`", rule)
  prop = goal.target if name == "⊢" else local.term

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
    if not inside and match(pattern, canonical(part), trial):
      if None in trial.values():
        raise Failure("rw: an argument is not determined", rule)
      key, new = (substitute(side, trial) for side in (left, right))
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
