"""Environments, and the commands that extend them.

In: an environment and source text. Out: the next environment, diagnostics and
sorries. A theorem whose declaration has an error is not added.
"""

import dataclasses
from collections.abc import Mapping

import lark

from kimina_jax.minilean import (
  elaborate,
  library,
  parser,
  proofs,
  tactics,
)
from kimina_jax.minilean.elaborate import Failure
from kimina_jax.minilean.goals import (
  Diagnostic,
  Goal,
  Local,
  Proof,
  Theorem,
)
from kimina_jax.minilean.parser import Span, Tree, children_of, span_of
from kimina_jax.minilean.syntax import Sort, Term

_MODULES = ("Mathlib", "Aesop", "Lean", "Init", "Std", "Batteries")
_OPTIONS = ("maxHeartbeats", "maxRecDepth")
# In Lean's order.
_AXIOM_ORDER = ("propext", "sorryAx", "Classical.choice", "Quot.sound")


@dataclasses.dataclass(frozen=True)
class Environment:
  """The declarations so far. Immutable: commands make new environments.

  Attributes:
    theorems: the proved theorems by name.
    definitions: the named propositions.
    fresh: whether imports are still allowed.
  """

  theorems: Mapping[str, Theorem] = dataclasses.field(default_factory=dict)
  definitions: Mapping[str, Term] = dataclasses.field(default_factory=dict)
  fresh: bool = True

  def imported(self) -> "Environment":
    """The same environment, in which imports are no longer allowed."""
    return dataclasses.replace(self, fresh=False)


@dataclasses.dataclass(frozen=True)
class SourceResult:
  """The environment after a source text, with diagnostics and sorries."""

  environment: Environment
  diagnostics: list[Diagnostic]
  sorries: list[tuple[Span, str]]


def run_source(environment: Environment, source: str) -> SourceResult:
  """Runs the commands of `source` one after the other."""
  diagnostics: list[Diagnostic] = []
  sorries: list[tuple[Span, str]] = []
  for command in parser.parse_commands(source):
    if isinstance(command, parser.SyntaxFailure):
      diagnostics.append(Diagnostic("error", str(command), command.span))
      continue
    try:
      outcome = _run_command(environment, command)
    except Failure as failure:
      span = failure.span or span_of(command)
      diagnostics.append(Diagnostic("error", failure.message, span))
    except RecursionError:
      diagnostics.append(
        Diagnostic(
          "error",
          "maximum recursion depth has been reached",
          span_of(command),
        )
      )
    else:
      environment = outcome.environment
      diagnostics += outcome.diagnostics
      sorries += outcome.sorries
  return SourceResult(environment, diagnostics, sorries)


def _run_command(environment: Environment, command: Tree) -> SourceResult:
  if command.data == "declaration":
    return _declare(environment, command)
  if command.data == "print_axioms":
    return SourceResult(environment, [_print_axioms(environment, command)], [])
  if command.data == "import":
    return _import(environment, command)
  if command.data == "set_option" and children_of(command)[0] not in _OPTIONS:
    raise Failure(f"Unknown option `{children_of(command)[0]}`", command)
  # Names are not qualified here, so `open` has no effect.
  after = dataclasses.replace(environment, fresh=False)
  return SourceResult(after, [], [])


def _import(environment: Environment, command: Tree) -> SourceResult:
  module = str(children_of(command)[0])
  if not environment.fresh:
    raise Failure(
      "invalid 'import' command, it must be used in the beginning of the file",
      command,
    )
  if module.split(".")[0] not in _MODULES:
    raise Failure(f"unknown module prefix '{module}'", command)
  return SourceResult(environment, [], [])


def _print_axioms(environment: Environment, command: Tree) -> Diagnostic:
  name = children_of(command)[0]
  theorem = environment.theorems.get(str(name))
  if theorem is None:
    raise Failure(f"Unknown constant `{name}`", name)
  axioms = [axiom for axiom in _AXIOM_ORDER if axiom in theorem.axioms]
  text = f"'{name}' does not depend on any axioms"
  if axioms:
    text = f"'{name}' depends on axioms: [{', '.join(axioms)}]"
  start = span_of(command)
  keyword = Span(start.line, start.column, start.line, start.column + 6)
  return Diagnostic("info", text, keyword)


def _declare(environment: Environment, command: Tree) -> SourceResult:
  kind, *rest = children_of(command)
  name = rest.pop(0) if isinstance(rest[0], lark.Token) else None
  *binders, statement, body = rest
  keyword = str(children_of(kind)[0])
  place = name if name is not None else children_of(kind)[0]
  if (name is None) != (keyword == "example"):
    raise Failure(f"unexpected name or no name after '{keyword}'", kind)
  if name in {**environment.theorems, **environment.definitions} or (
    library.lemmas(str(name))
  ):
    raise Failure(f"'{name}' has already been declared", place)
  if keyword == "def" and name is not None:
    return _define(environment, name, binders, statement, body)
  entries, target, implicit = elaborate.signature(
    binders, statement, environment.definitions
  )
  closed = elaborate.close("∀", [entry[1:] for entry in entries], target)
  proof = Proof(environment.theorems, environment.definitions, tactics.prove)
  goal = Goal(proof, (), target).assume(*(Local(*entry) for entry in entries))
  _check(goal, body)
  after = dataclasses.replace(environment, fresh=False)
  if not proof.diagnostics and name is not None:
    theorem = Theorem(closed, implicit, frozenset(proof.axioms))
    theorems = {**environment.theorems, str(name): theorem}
    after = dataclasses.replace(after, theorems=theorems)
  diagnostics = list(proof.diagnostics)
  if proof.sorries and not diagnostics:
    text = "declaration uses `sorry`"
    diagnostics.append(Diagnostic("warning", text, span_of(place)))
  return SourceResult(after, diagnostics, proof.sorries)


def _check(goal: Goal, body: Tree) -> None:
  try:
    proofs.closed(proofs.check_term(body, goal), body)
  except Failure as failure:
    goal.proof.report(failure, body)


def _define(
  environment: Environment,
  name: lark.Token,
  binders: list[Tree],
  statement: Tree,
  body: Tree,
) -> SourceResult:
  if binders or elaborate.sort_of(statement) is not Sort.PROP:
    raise Failure("only `def name : Prop := …` is in the fragment", statement)
  term = elaborate.proposition(body, environment.definitions)
  definitions = {**environment.definitions, str(name): term}
  after = dataclasses.replace(environment, definitions=definitions, fresh=False)
  return SourceResult(after, [], [])
