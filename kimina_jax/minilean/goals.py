"""Goals, and the record of the check of one declaration.

A goal is a target with the locals that may be used, printed as Lean prints it.
The record collects diagnostics and sorries with their spans. Proof steps are in
tactics.py and proofs.py.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import lark

from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.parser import Span, Tree, span_of
from kimina_jax.minilean.syntax import Term, show, subterms

MAX_SIZE = 5000  # nodes of a proposition of a goal


@dataclasses.dataclass(frozen=True)
class Theorem:
  """A proved statement of an environment.

  Attributes:
    statement: closed proposition.
    implicit: for each of its leading binders, whether it is in braces.
    axioms: those that its proof uses.
  """

  statement: Term
  implicit: tuple[bool, ...]
  axioms: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Diagnostic:
  """An error, a warning or an information, as Lean reports it."""

  severity: str
  text: str
  span: Span


@dataclasses.dataclass
class Proof:
  """The state of the check of one declaration.

  Attributes:
    theorems: the proved theorems of the environment.
    definitions: the named propositions of the environment.
    diagnostics: errors so far.
    sorries: span and goal of each `sorry`.
    axioms: those that the proof uses so far.
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
  """A local declaration: a variable or a hypothesis.

  Attributes:
    name: `_` is no name.
    term: the variable, or the proposition of the hypothesis.
    is_variable: whether it is a variable.
  """

  name: str
  term: Term
  is_variable: bool = False


@dataclasses.dataclass(frozen=True)
class Goal:
  """A target to prove, with the locals that may be used."""

  proof: Proof
  locals: tuple[Local, ...]
  target: Term
  tag: str = ""

  def aim(self, target: Term, tag: str = "") -> "Goal":
    """Replaces the target; appends to the case tag."""
    tags = ".".join(part for part in (self.tag, tag) if part)
    return dataclasses.replace(self, target=_checked(target), tag=tags)

  def assume(self, *new: Local) -> "Goal":
    """Adds locals."""
    for local in new:
      _checked(local.term)
    return dataclasses.replace(self, locals=(*self.locals, *new))

  def keep(self, locals: Sequence[Local]) -> "Goal":
    """Replaces the locals."""
    return dataclasses.replace(self, locals=()).assume(*locals)

  def scope(self) -> dict[str, Term]:
    """Maps names to terms; the latest local of a name shadows the others."""
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
    """Prints the goal as Lean does: case tag, locals by type, target."""
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
