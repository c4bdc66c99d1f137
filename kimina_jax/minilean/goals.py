"""Goals and the record of one declaration's check.

In: locals and a target. Out: goals printed as Lean prints them, messages and
sorries with their places. Never: a proof step (see tactics.py and proofs.py).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import lark

from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.parser import Span, Tree, span_of
from kimina_jax.minilean.syntax import Term, show, subterms

MAX_SIZE = 5000  # nodes of a proposition in a goal


@dataclasses.dataclass(frozen=True)
class Theorem:
  """A proved statement of an environment.

  Attributes:
    statement: closed proposition.
    implicit: for each of its leading binders, whether it is in braces.
    axioms: what its proof rests on.
  """

  statement: Term
  implicit: tuple[bool, ...]
  axioms: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Diagnostic:
  """A message of Lean."""

  severity: str
  text: str
  span: Span


@dataclasses.dataclass
class Proof:
  """What comes to light while a declaration is checked.

  Attributes:
    theorems: what the environment has proved.
    definitions: named propositions of the environment.
    diagnostics: errors so far.
    sorries: place and goal of each `sorry`.
    axioms: what the proof rests on so far.
    run: runs the block of a `by` on a goal (tactics.prove).
  """

  theorems: Mapping[str, Theorem]
  definitions: Mapping[str, Term]
  run: Callable[[Tree, "Goal"], None]
  diagnostics: list[Diagnostic] = dataclasses.field(default_factory=list)
  sorries: list[tuple[Span, str]] = dataclasses.field(default_factory=list)
  axioms: set[str] = dataclasses.field(default_factory=set)

  def report(self, failure: Failure, node: Tree | lark.Token) -> None:
    span = failure.span or span_of(node)
    self.diagnostics.append(Diagnostic("error", failure.message, span))

  def admit(self, goal: "Goal", node: Tree | lark.Token) -> None:
    self.sorries.append((span_of(node), goal.show()))
    self.axioms.add("sorryAx")


@dataclasses.dataclass(frozen=True)
class Local:
  """A variable (`term` is it) or a hypothesis (`term` is what it says).

  Attributes:
    name: what it is found by; `_` names nothing.
  """

  name: str
  term: Term
  is_variable: bool = False


@dataclasses.dataclass(frozen=True)
class Goal:
  """What is left to prove, and from what."""

  proof: Proof
  locals: tuple[Local, ...]
  target: Term
  tag: str = ""

  def aim(self, target: Term, tag: str = "") -> "Goal":
    """The same goal with another target."""
    tags = ".".join(part for part in (self.tag, tag) if part)
    return dataclasses.replace(self, target=_checked(target), tag=tags)

  def assume(self, *new: Local) -> "Goal":
    """The same goal with more locals."""
    for local in new:
      _checked(local.term)
    return dataclasses.replace(self, locals=(*self.locals, *new))

  def keep(self, locals: Sequence[Local]) -> "Goal":
    """The same goal with these locals instead."""
    return dataclasses.replace(self, locals=()).assume(*locals)

  def scope(self) -> dict[str, Term]:
    """The terms that names stand for: the latest local of a name wins."""
    scope = dict(self.proof.definitions)
    for local in self.locals:
      if local.is_variable:
        scope[local.name] = local.term
      else:
        scope.pop(local.name, None)
    return scope

  def find(self, name: str) -> Local | None:
    """The latest local of this name."""
    found = [local for local in self.locals if local.name == name]
    return found[-1] if found else None

  def local(self, name: str) -> Local:
    """The latest local of this name, which must exist."""
    found = self.find(name)
    if found is None:
      raise Failure(f"Unknown identifier `{name}`")
    return found

  def hypotheses(self) -> list[Term]:
    return [local.term for local in self.locals if not local.is_variable]

  def show(self) -> str:
    """As Lean prints it: case tag, locals grouped by type, target."""
    lines = [f"case {self.tag}"] if self.tag else []
    names: list[str] = []
    last = None
    for index, local in enumerate(self.locals):
      later = {other.name for other in self.locals[index + 1 :]}
      name = local.name + "✝" * (local.name in later)
      kind = str(local.term.sort) if local.is_variable else show(local.term)
      if kind != last and names:
        lines.append(f"{' '.join(names)} : {last}")
        names = []
      names.append(name)
      last = kind
    if names:
      lines.append(f"{' '.join(names)} : {last}")
    return "\n".join([*lines, f"⊢ {show(self.target)}"])


def unsolved(goals: Sequence[Goal]) -> str:
  return "unsolved goals\n" + "\n\n".join(goal.show() for goal in goals)


def _checked(term: Term) -> Term:
  for count, _ in enumerate(subterms(term)):
    if count > MAX_SIZE:
      raise Failure("the goal has become too large for minilean")
  return term
