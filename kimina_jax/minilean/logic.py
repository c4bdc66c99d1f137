"""What a proposition gives and asks for: projections, premises, `intro`.

In: propositions and goals. Out: the parts of the one, the next of the other.
Never: a look at a proof.
"""

import lark

from kimina_jax.minilean.elaborate import Failure, Tree
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.syntax import (
  FALSE,
  Term,
  formula,
  show,
  substitute,
  variable,
)


def project(prop: Term, field: str, tree: Tree | lark.Token) -> Term:
  """What `.left`, `.1`, `.mp`, `.symm` … of a proof of `prop` proves."""
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
  """(premise, conclusion) of →, ¬ and ≠."""
  if prop.head == "→":
    return prop.args
  if prop.head == "¬":
    return prop.args[0], FALSE
  if prop.head == "≠":
    return formula("=", *prop.args), FALSE
  return None


def introduce(goal: Goal, name: str, node: Tree | lark.Token) -> Goal:
  """The goal after `intro name`."""
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
