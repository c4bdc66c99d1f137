"""Tactics that compute: norm_num, simp, ring, omega, linarith and others.

In: a tactic and its goal. Out: the goals that are left, none if the goal is
proved. Every proof is one of a procedure of arithmetic.py or rewriting.py.
"""

import dataclasses

from kimina_jax.minilean import arithmetic, proofs
from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import Goal, Local
from kimina_jax.minilean.logic import introduce
from kimina_jax.minilean.parser import Tree, children_of
from kimina_jax.minilean.rewriting import (
  Simplifier,
  closes_reducibly,
  push_negation,
  rules_of,
)
from kimina_jax.minilean.semantics import Undecided
from kimina_jax.minilean.syntax import (
  FALSE,
  TRUE,
  Term,
  canonical,
  is_open,
  show,
)

_AXIOMS = frozenset({"propext", "Classical.choice", "Quot.sound"})
_OMEGA_FAILED = (
  "omega could not prove the goal:\n"
  "the constraints over ℕ and ℤ that it sees have a solution\n"
)
_RING_FAILED = (
  "Try this: ring_nf\n\nThe `ring` tactic failed to close the goal.\n"
)


def run_closer(step: Tree, goal: Goal) -> list[Goal]:
  """Runs a closing or simplifying tactic; returns the goals that are left."""
  if step.data == "simplify":
    return _simplify(step, goal)
  if step.data == "push_neg":
    return _push_neg(step, goal)
  if step.data == "linear":
    return _linear(step, goal)
  name = str(children_of(step)[0])
  if name == "sorry":
    goal.proof.admit(goal, step)
    return []
  if name not in ("rfl", "assumption", "decide", "trivial", "contradiction"):
    goal.proof.axioms |= _AXIOMS
  failed = _close(name, goal)
  if failed:
    raise Failure(failed, step)
  return []


def discharged(goal: Goal) -> bool:
  """Whether `use` closes the remaining goal by itself."""
  target = goal.target
  if target.head == "∧":
    return all(discharged(goal.aim(part)) for part in target.args)
  return target == TRUE or closes_reducibly(target) or _assumed(goal)


def _close(name: str, goal: Goal) -> str:
  """Runs a closing tactic; returns "" if it proves the goal, else the error."""
  target = goal.target
  match name:
    case "rfl":
      proved = arithmetic.trivial_equality(target)
      failed = f"Tactic `rfl` failed: the two sides differ\n\n{goal.show()}"
    case "assumption":
      proved = _assumed(goal)
      failed = f"Tactic `assumption` failed\n\n{goal.show()}"
    case "contradiction":
      proved = _contradicted(goal)
      failed = f"Tactic `contradiction` failed\n\n{goal.show()}"
    case "trivial":
      proved = _trivial(goal)
      failed = f"Tactic `trivial` failed\n\n{goal.show()}"
    case "decide":
      return _decide(target)
    case "ring":
      proved = arithmetic.ring(target)
      failed = _RING_FAILED + goal.show()
    case "omega":
      proved = _omega(goal)
      failed = _OMEGA_FAILED + goal.show()
    case "positivity":
      proved = arithmetic.positivity(goal.hypotheses(), target)
      failed = f"failed to prove positivity\n{goal.show()}"
    case _:
      proved, failed = False, f"unsolved goals\n{goal.show()}"
  return "" if proved else failed


def _decide(target: Term) -> str:
  if is_open(target):
    return f"Expected type must not contain free variables\n  {show(target)}"
  if not arithmetic.decidable(target):
    return f"failed to synthesize\n  Decidable ({show(target)})"
  if not arithmetic.holds(target):
    return (
      f"Tactic `decide` proved that the proposition\n  {show(target)}\nis false"
    )
  return ""


def _assumed(goal: Goal) -> bool:
  target = canonical(goal.target)
  return any(canonical(prop) == target for prop in goal.hypotheses())


def _contradicted(goal: Goal) -> bool:
  props = goal.hypotheses()
  known = {canonical(prop) for prop in props}
  return any(
    arithmetic.absurd(prop) or Term("→", (canonical(prop), FALSE)) in known
    for prop in props
  )


def _trivial(goal: Goal) -> bool:
  target = goal.target
  if target.head == "∧":
    return all(_trivial(goal.aim(part)) for part in target.args)
  return (
    target == TRUE
    or _assumed(goal)
    or arithmetic.trivial_equality(target)
    or _contradicted(goal)
    or (arithmetic.decidable(target) and arithmetic.holds(target))
  )


def _omega(goal: Goal) -> bool:
  while goal.target.head in ("∀", "→"):
    goal = introduce(goal, "h✝", Tree("omega", []))
  return arithmetic.omega(goal.hypotheses(), goal.target)


def _linear(step: Tree, goal: Goal) -> list[Goal]:
  tactic, *options = children_of(step)
  name = str(children_of(tactic)[0])
  facts = [proofs.infer(hint, goal) for hint in _hints(step)]
  if not any(option.data == "only" for option in options):
    facts = goal.hypotheses() + facts
  procedure = {
    "linarith": arithmetic.linarith,
    "nlinarith": arithmetic.nlinarith,
  }[name]
  goal.proof.axioms |= _AXIOMS
  if not procedure(facts, goal.target):
    raise Failure(
      f"linarith failed to find a contradiction\n{goal.show()}\nfailed", step
    )
  return []


def _hints(step: Tree) -> list[Tree]:
  return [
    hint
    for option in children_of(step)
    if option.data == "hints"
    for hint in children_of(option)
  ]


@dataclasses.dataclass(frozen=True)
class _Places:
  """The location of a tactic (`at h ⊢`): hypotheses by name, and the target.

  Attributes:
    names: of the hypotheses.
    target: whether the target is included.
    anywhere: whether the location is `at *`.
  """

  names: tuple[str, ...]
  target: bool
  anywhere: bool


def _places(step: Tree, goal: Goal) -> _Places:
  for option in children_of(step):
    if isinstance(option, Tree) and option.data == "location":
      words = [str(word) for word in children_of(option)]
      if "*" in words:
        # A later variable may shadow a hypothesis of the same name.
        latest = {local.name: local for local in goal.locals}
        found = [name for name, one in latest.items() if not one.is_variable]
        return _Places(tuple(found), True, True)
      names = tuple(dict.fromkeys(word for word in words if word != "⊢"))
      for name in names:
        local = goal.find(name)
        if local is None or local.is_variable:
          raise Failure(f"Unknown hypothesis `{name}`", option)
      return _Places(names, "⊢" in words, False)
  return _Places((), True, False)


def _simplify(step: Tree, goal: Goal) -> list[Goal]:
  name = str(children_of(children_of(step)[0])[0])
  hints = [(hint, proofs.infer(hint, goal)) for hint in _hints(step)]
  goal.proof.axioms |= _AXIOMS

  def rewrite(prop: Term, own: str) -> Term:
    # A hypothesis is not simplified by itself.
    used = [
      stated
      for hint, stated in hints
      if not (hint.data == "name" and children_of(hint)[0] == own)
    ]
    return Simplifier(rules_of(used), name == "norm_num").simplify(prop)

  return _transform(step, goal, rewrite, f"{name} made no progress")


def _push_neg(step: Tree, goal: Goal) -> list[Goal]:
  return _transform(
    step, goal, lambda prop, own: push_negation(prop), "push_neg: no progress"
  )


def _transform(step: Tree, goal: Goal, rewrite, stuck: str) -> list[Goal]:
  """Rewrites at the location of `step`; with `at *`, some may not change."""
  places = _places(step, goal)
  progress = False
  try:
    for name in places.names:
      local = goal.local(name)
      new = rewrite(local.term, name)
      progress |= new != local.term
      if new == local.term and not places.anywhere:
        raise Failure(stuck, step)
      if new == FALSE:
        return []
      goal = _with_hypothesis(goal, local, new)
    if places.target:
      new = rewrite(goal.target, "")
      progress |= new != goal.target
      if new == TRUE:
        return []
      goal = goal.aim(new)
  except Undecided:
    raise Failure("maximum recursion depth has been reached", step) from None
  if not progress:
    raise Failure(stuck, step)
  return [goal]


def _with_hypothesis(goal: Goal, local: Local, new: Term) -> Goal:
  """Replaces a hypothesis; True is dropped."""
  replaced = [] if new == TRUE else [Local(local.name, new)]
  locals = []
  for other in goal.locals:
    locals += replaced if other is local else [other]
  return goal.keep(locals)
