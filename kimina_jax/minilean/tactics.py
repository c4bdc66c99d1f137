"""Tactics: blocks, combinators and the structural tactics.

In: trees of tactics and goals. Out: the goals that are left; errors are
recorded in the goal's Proof. The tactics that compute are in closers.py.
"""

import dataclasses
from collections.abc import Callable

from kimina_jax.minilean import (
  closers,
  elaborate,
  proofs,
  rewriting,
)
from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import Goal, Local, unsolved
from kimina_jax.minilean.logic import (
  PATTERNS,
  assume,
  destructure,
  introduce,
  local_name,
  substitute_equation,
)
from kimina_jax.minilean.parser import Tree, children_of, span_of
from kimina_jax.minilean.syntax import (
  FALSE,
  TRUE,
  formula,
  negate,
  show,
  substitute,
)

_NO_GOALS = "No goals to be solved"


def prove(tree: Tree, goal: Goal) -> None:
  """Runs the block of `tree` (a `by` or a bullet), which must solve the goal.

  A failure is recorded as a diagnostic, and the goal then counts as solved, as
  in Lean; a declaration with such a diagnostic proves nothing.
  """
  try:
    left = _run_block(children_of(tree)[-1], [goal])
    if left:
      raise Failure(unsolved(left), tree)
  except Failure as failure:
    goal.proof.report(failure, tree)


def _run_block(block: Tree, goals: list[Goal]) -> list[Goal]:
  for step in children_of(block):
    goals = _run_step(step, goals)
  return goals


def _run_step(step: Tree, goals: list[Goal]) -> list[Goal]:
  if step.data == "closer" and children_of(step)[0] == "done" and not goals:
    return []
  if step.data == "all_goals":
    block = children_of(step)[0]
    return [left for goal in goals for left in _run_block(block, [goal])]
  if not goals:
    raise Failure(_NO_GOALS, step)
  match step.data, children_of(step):
    case "then_all", [first, second]:
      made = _run_step(first, goals[:1])
      left = [goal for one in made for goal in _run_step(second, [one])]
      return left + goals[1:]
    case "block", _:
      return _run_block(step, goals)
    case "bullet", _:
      prove(step, goals[0])
      return goals[1:]
    case "try", [block]:
      return _try(block, goals)
  return _run_tactic(step, goals[0]) + goals[1:]


def _try(block: Tree, goals: list[Goal]) -> list[Goal]:
  proof = goals[0].proof
  before = len(proof.diagnostics), len(proof.sorries), set(proof.axioms)
  try:
    left = _run_block(block, goals)
    if len(proof.diagnostics) == before[0]:
      return left
  except Failure:
    pass  # `try` ignores the failure and keeps the goals.
  del proof.diagnostics[before[0] :], proof.sorries[before[1] :]
  proof.axioms = before[2]
  return goals


def _run_tactic(step: Tree, goal: Goal) -> list[Goal]:
  try:
    if step.data in ("closer", "simplify", "linear", "push_neg"):
      return closers.run_closer(step, goal)
    return _TACTICS[step.data](step, goal)
  except Failure as failure:
    failure.span = failure.span or span_of(step)
    raise


def _intro(step: Tree, goal: Goal) -> list[Goal]:
  goals = [goal]
  for pattern in children_of(step) or [Tree("named", ["_"], step.meta)]:
    goals = [new for old in goals for new in _intro_one(pattern, old)]
  return goals


def _intro_one(pattern: Tree, goal: Goal) -> list[Goal]:
  if pattern.data == "named":
    name = local_name(children_of(pattern)[0])
    return [introduce(goal, name, pattern)]
  inner = introduce(goal, local_name("_"), pattern)
  return destructure(inner, inner.locals[-1].name, pattern)


def _intros(step: Tree, goal: Goal) -> list[Goal]:
  for name in children_of(step):
    goal = introduce(goal, local_name(name), step)
  while not children_of(step) and goal.target.head in ("∀", "→"):
    goal = introduce(goal, local_name("_"), step)
  return [goal]


def _exact(step: Tree, goal: Goal) -> list[Goal]:
  term = children_of(step)[0]
  proofs.closed(proofs.check_term(term, goal), term)
  return []


def _refine(step: Tree, goal: Goal) -> list[Goal]:
  return proofs.check_term(children_of(step)[0], goal)


def _apply(step: Tree, goal: Goal) -> list[Goal]:
  return proofs.apply_term(children_of(step)[0], goal)


def _use(step: Tree, goal: Goal) -> list[Goal]:
  for tree in children_of(step):
    if goal.target.head != "∃":
      raise Failure("use: the target is not an existential", tree)
    bound, body = goal.target.args
    witness = elaborate.value(tree, goal.scope(), bound.sort)
    goal = goal.aim(substitute(body, {bound: witness}), "h")
  return [] if closers.discharged(goal) else [goal]


def _rcases(step: Tree, goal: Goal) -> list[Goal]:
  term, *pattern = children_of(step)
  pattern = pattern[0] if pattern else Tree("clear", [], step.meta)
  return _take_apart(term, pattern, goal)


def _cases(step: Tree, goal: Goal) -> list[Goal]:
  term, *names = children_of(step)
  named = [Tree("named", [name], step.meta) for name in names]
  prop = proofs.infer(term, goal)
  kind = "alternatives" if prop.head == "∨" else "tuple"
  return _take_apart(term, Tree(kind, named, step.meta), goal)


def _take_apart(term: Tree, pattern: Tree, goal: Goal) -> list[Goal]:
  prop = proofs.infer(term, goal)
  if term.data == "name" and goal.find(str(children_of(term)[0])):
    return destructure(goal, str(children_of(term)[0]), pattern)
  return assume(goal, prop, pattern)


def _have(step: Tree, goal: Goal) -> list[Goal]:
  """`have` and `obtain`; pattern and type may be missing, the proof not."""
  *front, value = children_of(step)
  pattern = Tree("named", ["this"], step.meta)
  if front and front[0].data in PATTERNS:
    pattern = front.pop(0)
  if not front:
    if step.data == "obtain":
      return _take_apart(value, pattern, goal)
    return assume(goal, proofs.infer(value, goal), pattern)
  stated = elaborate.proposition(front[0], goal.scope())
  aside = dataclasses.replace(goal, tag="").aim(stated)
  return proofs.check_term(value, aside) + assume(goal, stated, pattern)


def _show(step: Tree, goal: Goal) -> list[Goal]:
  return [proofs.restated(goal, children_of(step)[0])]


def _subst(step: Tree, goal: Goal) -> list[Goal]:
  for name in children_of(step):
    local = goal.find(str(name))
    if local is None or local.is_variable:
      raise Failure(f"subst: `{name}` is not a hypothesis", name)
    rest = [other for other in goal.locals if other is not local]
    goal = substitute_equation(goal.keep(rest), local.term, step)
  return [goal]


def _by_contra(step: Tree, goal: Goal) -> list[Goal]:
  target = goal.target
  denied = target.args[0] if target.head == "¬" else negate(target)
  return [goal.assume(Local(str(children_of(step)[0]), denied)).aim(FALSE)]


def _by_cases(step: Tree, goal: Goal) -> list[Goal]:
  name, tree = children_of(step)
  prop = elaborate.proposition(tree, goal.scope())
  return [
    goal.assume(Local(str(name), prop)).aim(goal.target, "pos"),
    goal.assume(Local(str(name), negate(prop))).aim(goal.target, "neg"),
  ]


def _splitter(step: Tree, goal: Goal) -> list[Goal]:
  target = goal.target
  match str(children_of(step)[0]), target.head:
    case "exfalso", _:
      return [goal.aim(FALSE)]
    case ("left" | "right") as side, "∨":
      return [goal.aim(target.args[side == "right"])]
    case "constructor", "∧":
      a, b = target.args
      return [goal.aim(a, "left"), goal.aim(b, "right")]
    case "constructor", "↔":
      a, b = target.args
      there, back = formula("→", a, b), formula("→", b, a)
      return [goal.aim(there, "mp"), goal.aim(back, "mpr")]
    case "constructor", _ if target == TRUE:
      return []
  raise Failure(
    f"Tactic `{children_of(step)[0]}` failed: it does not apply to the target\n"
    f"  {show(target)}",
    step,
  )


_TACTICS: dict[str, Callable[[Tree, Goal], list[Goal]]] = {
  "apply": _apply,
  "by_cases": _by_cases,
  "by_contra": _by_contra,
  "cases": _cases,
  "exact": _exact,
  "have": _have,
  "intro": _intro,
  "intros": _intros,
  "obtain": _have,
  "rcases": _rcases,
  "refine": _refine,
  "rewrite": rewriting.rewrite,
  "show": _show,
  "splitter": _splitter,
  "subst": _subst,
  "use": _use,
}
