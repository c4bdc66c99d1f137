"""A theorem from the command line as a Problem.

In: a statement as text, a file, or `-` for stdin. Out: a Problem with the
header and statement that proofs are checked against. A text that is not one
theorem without a proof, or that no proof could be audited for, is refused with
one line. Lean is not run.
"""

import itertools
import pathlib
import sys
from collections.abc import Sequence

from kimina_jax.problems.arithmetic import HEADER
from kimina_jax.problems.dataset import DOCSTRING
from kimina_jax.types import Extraction, Problem, UsageError, Verdict
from kimina_jax.verification.acceptance.audit import prepare_audit
from kimina_jax.verification.acceptance.lexer import (
  LexError,
  Token,
  normalise,
  tokenize,
)
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.acceptance.theorems import (
  UNNAMED_EXAMPLE,
  find_last_theorem,
  nesting_change,
  theorem_name,
)

_REMEDY = "say `theorem name … : … := by`"
# Rules for the audit of a statement, where limits do not matter.
_RULES = SyntaxRules(max_heartbeats=1, native_decide=False)


def read_source(source: str) -> str:
  """The text of an argument: of stdin, of a file, or the argument itself.

  Raises:
    UsageError: the file cannot be read.
  """
  num_words = len(source.split())
  if source != "-" and num_words != 1 and not source.endswith(".lean"):
    return source
  try:
    if source == "-":
      return sys.stdin.buffer.read().decode()
    return pathlib.Path(source).read_text("utf-8")
  except (OSError, UnicodeError) as error:
    raise UsageError(
      f"cannot read {source!r} ({error}): name a file, or {_REMEDY}"
    ) from error


def parse_theorem(
  text: str, *, header: str | None, informal: str = ""
) -> Problem:
  """The last theorem of a text, as a problem.

  Args:
    text: Lean that ends in a statement; `:=`, `by` and `sorry` may follow.
    header: Lean to put before the text; None puts the import of Mathlib there
      unless the text has imports.
    informal: the problem in words; "" takes the theorem's docstring.

  Raises:
    UsageError: the text does not end in one theorem without a proof, or no
      proof of it could be audited.
  """
  try:
    text = normalise(text)
    tokens = tokenize(text)
  except LexError as error:
    raise UsageError(f"this is not Lean: {error}") from error
  index = _last_theorem(tokens)
  before, statement = text[: tokens[index].start], tokens[index:]
  own, docstring = _split_docstring(before)
  if header is None:
    has_import = any(token.text == "import" for token in tokens[:index])
    header = "" if has_import else HEADER
  header = f"{header.strip()}\n\n{own.strip()}".strip()
  problem = Problem(
    name=_name(statement),
    header=f"{header}\n\n" if header else "",
    statement=_statement(text, statement),
    informal=informal or docstring,
    split="test",
  )
  _check_auditable(problem)
  return problem


def empty_proof(problem: Problem) -> Extraction:
  """A proof without effect: with it the checker only elaborates a statement."""
  final = f"{problem.header}{problem.statement}\n  done"
  return Extraction(tactics=("done",), final=final)


def _last_theorem(tokens: Sequence[Token]) -> int:
  """Index of its keyword, which must be the first word of a line."""
  index = find_last_theorem(tokens)
  if index is None:
    raise UsageError(f"there is no theorem in this text: {_REMEDY}")
  if index and tokens[index - 1].line == tokens[index].line:
    raise UsageError(
      f"{tokens[index - 1].text!r} stands before {tokens[index].text!r} in line"
      f" {tokens[index].line}: leave it out, or begin a line with the theorem"
    )
  return index


def _split_docstring(before: str) -> tuple[str, str]:
  docstring = DOCSTRING.search(before)
  if docstring is None:
    return before, ""
  return before[: docstring.start()], docstring[1].strip()


def _name(statement: Sequence[Token]) -> str:
  name = theorem_name(statement, 0)
  if not name:
    raise UsageError(f"the theorem has no name: {_REMEDY}")
  return name


def _statement(text: str, tokens: Sequence[Token]) -> str:
  """The statement with the ending `:= by`, whatever its own ending."""
  kept = list(tokens)
  for ending in ("sorry", "by", ":="):
    if kept[-1].text == ending:
      kept.pop()
  _check_ending(tokens, kept)
  statement = text[kept[0].start : kept[-1].end]
  if kept[0].text == "example":
    statement = f"theorem {UNNAMED_EXAMPLE}{statement.removeprefix('example')}"
  return f"{statement} := by"


def _check_ending(tokens: Sequence[Token], kept: Sequence[Token]) -> None:
  """Raises UsageError unless the ending is `:=` or `:= by`, or with `sorry`."""
  cut = tokens[len(kept) :]
  if cut and cut[0].text != ":=":
    ending = " ".join(token.text for token in cut)
    raise UsageError(
      f"the theorem ends in {ending!r} without `:=`: end it in `:= by`"
    )
  # A `let` of the goal has its own `:=`.
  if any(token.text == "let" for token in kept):
    return
  depths = itertools.accumulate(nesting_change(token) for token in kept)
  for token, depth in zip(kept, depths, strict=True):
    if token.text == ":=" and depth == 0:
      raise UsageError(
        f"the theorem has a proof, from {token.line}:{token.column} on: leave"
        " out what follows `:= by`"
      )


def _check_auditable(problem: Problem) -> None:
  """Raises UsageError if the audit would reject every proof."""
  audit = prepare_audit(problem, empty_proof(problem).final, _RULES)
  if isinstance(audit, Verdict):
    raise UsageError(
      f"no proof of this theorem could be checked: {audit.detail}"
    )
