"""The problem of the attacks, and the checks of any final block.

`finding` takes the text of a final block and returns the fault of the
acceptance, or "": an exception, a verdict without a reason, too much time, an
accepted text that the plain syntax rules refuse, or a disagreement of lexer and
plain reader about the extents of comments, strings and characters.
"""

import time

from plain_reader import Unclear, read
from plain_syntax_rules import complaints

from kimina_jax.types import Problem, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.acceptance.lexer import (
  LexError,
  normalise,
  tokenize,
)
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules

HEADER = """import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

"""
STATEMENT = (
  "theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by"
)
PROOF = "  nlinarith"
PROBLEM = Problem("target", HEADER, STATEMENT)
INNOCENT = f"{HEADER}{STATEMENT}\n{PROOF}\n"
RULES = SyntaxRules(max_heartbeats=1_000_000, native_decide=False)

REFUSALS = (
  Status.HAS_SORRY,
  Status.FORBIDDEN_SYNTAX,
  Status.STATEMENT_MISMATCH,
  Status.MISSING_THEOREM,
)
_SLOW_S_PER_MB, _SLOW_S = 20.0, 0.5


def finding(text: str, problem: Problem = PROBLEM) -> str:
  """Returns the acceptance's fault on a final block; "" if there is none."""
  began_s = time.process_time()
  try:
    result = prepare_audit(problem, text, RULES)
  except Exception as error:  # any error should have been a verdict
    return f"raised {type(error).__name__}: {str(error)[:80]}"
  spent_s = time.process_time() - began_s
  if spent_s > _SLOW_S + _SLOW_S_PER_MB * len(text) / 2**20:
    return f"slow: {spent_s:.1f} s for {len(text)} characters"
  if isinstance(result, Verdict):
    return _about_refusal(result, text) or _disagreement(text)
  return _about_audit(result, text, problem) or _disagreement(text)


def _disagreement(text: str) -> str:
  """Returns a difference between lexer and plain reader; "" if there is none.

  The reader refuses more texts as unclear than the lexer; for an accepted text
  `complaints` reports that.
  """
  try:
    text = normalise(text)
    tokens = tokenize(text)
  except LexError:
    return ""
  try:
    items = read(text)
  except Unclear:
    return ""
  ours, theirs = _extents(tokens), _extents(items)
  if ours != theirs:
    return f"literals differ: {sorted(ours ^ theirs)[0]}"
  code = {at for token in tokens for at in range(token.start, token.end)}
  plain = {at for item in items for at in range(item.start, item.end)}
  if code != plain:
    return f"code differs at {min(code ^ plain)}"
  return ""


def _extents(tokens) -> set[tuple[str, int, int]]:
  return {
    (token.kind, token.start, token.end)
    for token in tokens
    if token.kind in ("string", "char")
  }


def _about_refusal(verdict: Verdict, text: str) -> str:
  if verdict.status not in REFUSALS:
    return f"{verdict.status}: {verdict.detail[:80]}"
  if not verdict.detail:
    return "refused without a reason"
  lines = text.replace("\r\n", "\n").split("\n")
  for message in verdict.messages:
    if not 1 <= message.line <= len(lines):
      return f"refused at line {message.line} of {len(lines)}"
    if not 0 <= message.column <= len(lines[message.line - 1]):
      return f"refused at column {message.column} of line {message.line}"
  return ""


def _about_audit(audit: Audit, text: str, problem: Problem) -> str:
  if not _is_the_end_of(audit.proof, text.replace("\r\n", "\n")):
    return "the proof is not the final block's"
  found = complaints(audit.proof, problem.statement)
  return f"accepted: {found[0]}" if found else ""


def _is_the_end_of(proof: str, text: str) -> bool:
  """Whether the proof is the text with its beginning replaced by blanks."""
  lines, wholes = proof.split("\n"), text.split("\n")
  begun = False
  for line, whole in zip(lines, wholes, strict=False):
    indent = len(line) - len(line.lstrip(" "))
    begun_here = begun or indent < len(line)
    same = line[0 if begun else indent :] == whole[0 if begun else indent :]
    if begun_here and not same:
      return False
    begun = begun_here
  return len(lines) == len(wholes)
