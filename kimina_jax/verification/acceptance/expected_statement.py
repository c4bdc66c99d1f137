"""The expected statement of a proof, and the check that the proof repeats it.

In: the statement of a data set, which is trusted. Out: an ExpectedStatement,
whose closed proposition Lean elaborates before it sees any of the model's text.
`check_statement` compares a proof's theorem with it, token by token, at the top
level, outside every namespace and section that the proof opens. Proof bodies
are not looked at.
"""

import dataclasses
import functools
from collections.abc import Sequence

from kimina_jax.types import Status
from kimina_jax.verification.acceptance import syntax_rules
from kimina_jax.verification.acceptance.lexer import (
  Refusal,
  Scan,
  Token,
  is_line_break,
  normalise,
  scan,
  tokenize,
  without_line_breaks,
)
from kimina_jax.verification.acceptance.syntax_rules import (
  CommandStart,
  SyntaxRules,
)
from kimina_jax.verification.acceptance.vocabulary import DECLARATIONS

_MAX_CACHED = 16_384
_BINDER = {"(": ")", "{": "}", "[": "]", "⦃": "⦄"}


@dataclasses.dataclass(frozen=True)
class ExpectedStatement:
  r"""The statement of a problem, as a proof must repeat it.

  Example:
    ExpectedStatement(name="t", proposition="∀ (x : ℕ)\n, x = x\n",
           tokens=["theorem", "t", "(", …, ":=", "by"],
           names=frozenset(("ℕ",)))

  Attributes:
    name: of the theorem.
    proposition: the statement as one closed proposition.
    tokens: of the statement; a proof must repeat them.
    names: the parts of names in the statement that it does not bind.
  """

  name: str
  proposition: str
  tokens: list[str]
  names: frozenset[str]


@functools.lru_cache(maxsize=_MAX_CACHED)
def parse_statement(statement: str, rules: SyntaxRules) -> ExpectedStatement:
  """Parses a statement `theorem name binders : goal := by`.

  Raises:
    ValueError: it has another form, or breaks the syntax rules.
  """
  statement = normalise(statement)
  tokens = tokenize(statement)
  texts = [token.text for token in tokens]
  if texts[-2:] != [":=", "by"]:
    raise ValueError("it does not end in `:= by`")
  if texts[0] not in ("theorem", "lemma") or tokens[1].kind != "name":
    raise ValueError("it does not start with `theorem` and a name")
  colon = _colon(tokens)
  refusal = syntax_rules.check_syntax(scan(statement), rules)
  if isinstance(refusal, Refusal):
    raise ValueError(str(refusal))
  binders = statement[tokens[1].end : tokens[colon].start].strip()
  goal = statement[tokens[colon].end : tokens[-2].start].strip()
  if colon == len(tokens) - 3:
    raise ValueError("it states nothing")
  # Line breaks, because either part may end in a line comment.
  proposition = f"∀ {binders}\n, {goal}\n" if colon > 2 else f"{goal}\n"
  return ExpectedStatement(texts[1], proposition, texts, _free_names(tokens))


def check_statement(
  expected: ExpectedStatement, proof: Scan, commands: Sequence[CommandStart]
) -> tuple[Status, Refusal] | None:
  """None if a proof states the expected statement, else the error."""
  tokens = proof.tokens
  found: list[CommandStart] = []
  for command in commands:
    if command.kind not in DECLARATIONS:
      continue
    indices = _next_tokens(tokens, command.index, 2)
    declared = _plain(tokens[indices[-1]])
    if declared == _plain(expected.name):
      difference = _difference(expected, tokens, command.index)
      if difference is not None:
        rule = f"theorem {expected.name} states something else"
        return _mismatch(proof, rule, difference)
      found.append(command)
    elif declared.split(".")[-1] in expected.names:
      rule = f"{declared} redefines a name of the statement"
      return _mismatch(proof, rule, indices[-1])
  if len(found) > 1:
    return _mismatch(proof, "the statement stands twice", found[1].index)
  if found and found[0].depth:
    rule = "the statement stands inside a namespace or section"
    return _mismatch(proof, rule, found[0].index)
  if found:
    return None
  (first,) = _next_tokens(tokens, 0, 1)
  rule = f"no theorem {expected.name}"
  return Status.MISSING_THEOREM, proof.refusal_at(rule, first)


def _plain(name: str) -> str:
  """A name without quotation marks and `_root_`, as Lean resolves it."""
  return name.replace("«", "").replace("»", "").removeprefix("_root_.")


def _mismatch(proof: Scan, rule: str, index: int) -> tuple[Status, Refusal]:
  return Status.STATEMENT_MISMATCH, proof.refusal_at(rule, index)


def _difference(
  expected: ExpectedStatement, tokens: Sequence[str], start: int
) -> int | None:
  """The index of the first token that differs from the statement, or None."""
  size = len(expected.tokens)
  # A LINE never follows a LINE, so at least half of the tokens are others.
  if (
    without_line_breaks(tokens[start : start + 2 * size + 1])[:size]
    == expected.tokens
  ):
    return None
  rest = (i for i in range(start, len(tokens)) if not is_line_break(tokens[i]))
  index = start
  for word in expected.tokens:
    following = next(rest, None)
    if following is None:
      return index
    index = following
    if tokens[index] != word:
      return index
  return None


def _next_tokens(tokens: Sequence[str], start: int, count: int) -> list[int]:
  """The indices of the next `count` tokens that are not LINEs, if so many."""
  # A LINE never follows a LINE, so at least half of the tokens are others.
  span = range(start, min(start + 2 * count + 1, len(tokens)))
  return [index for index in span if not is_line_break(tokens[index])][:count]


def _colon(tokens: Sequence[Token]) -> int:
  """The index of the colon between binders and goal."""
  closing = []
  for index, token in enumerate(tokens[2:-2], start=2):
    if token.text in _BINDER and token.kind == "symbol":
      closing.append(_BINDER[token.text])
    elif closing and token.text == closing[-1]:
      closing.pop()
    elif not closing and token.text == ":":
      return index
    elif not closing and token.kind != "name":
      raise ValueError(f"unexpected {token.text!r} among the binders")
  raise ValueError("no colon between binders and goal")


def _free_names(tokens: Sequence[Token]) -> frozenset[str]:
  """The parts of all names in a statement but those that it binds."""
  names, bound, run = set(), set(), []
  for token in tokens[2:-2]:
    if token.kind == "name":
      run.append(token.text)
      names.update(token.text.split("."))
      continue
    if token.text == ":":
      bound.update(run)
    run = []
  return frozenset(names - bound)
