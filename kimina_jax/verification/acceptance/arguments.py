"""Syntax rules for arguments of attributes, options and tactics.

In: the tokens of a proof and the index of a word. Out: the faults in what
follows it. A setting such as `linarith (config := …)` is evaluated as a
program, and some settings hold one, so that only literals are allowed there.
The functions read no further than the arguments go, and decide nothing about
the word itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.verification.acceptance import vocabulary
from kimina_jax.verification.acceptance.lexer import is_line_break, kind_of

_ATTRIBUTES = frozenset(("simp", "reducible"))
_NOT_LITERAL = "setting that is not literal"
_MAX_DIGITS = 12
# Tokens between a tactic and its settings: `solve_by_elim*`, `simpa !`.
_MARKS = ("*", "!", "?")
# An automaton that accepts literal settings: states by the class of a token.
_TRANSITIONS = {
  "config :=": {"{": "{"},
  "{": {"name": "key", "}": "}"},
  "key": {":=": "key :="},
  "key :=": {"literal": "value", ".": "."},
  ".": {"name": "constant"},
  "constant": {"[": "[", ",": ",", "}": "}"},
  "[": {"literal": "item", "]": "value"},
  "item": {",": "[", "]": "value"},
  "value": {",": ",", "}": "}"},
  ",": {"name": "key"},
}

# The index of a token, and the rule that it breaks.
SyntaxFault = tuple[int, str]


def check_attributes(
  tokens: Sequence[str], index: int
) -> Iterator[SyntaxFault]:
  """After `@[`: only attributes of a short list, without arguments."""
  for position in _following(tokens, index):
    token = tokens[position]
    if token == "]":
      return
    if token not in _ATTRIBUTES and token != ",":
      yield position, "attribute not allowed"
      return


def check_option(
  tokens: Sequence[str], index: int, ceilings: Mapping[str, int]
) -> Iterator[SyntaxFault]:
  """After `set_option`: an allowed option and a number from 1 to its ceiling.

  In Lean, 0 is no limit.
  """
  following = _following(tokens, index)
  name = next(following, index)
  if tokens[name] not in ceilings:
    yield name, "option not allowed"
    return
  value = next(following, name)
  ceiling = ceilings[tokens[name]]
  if value == name or not re.fullmatch("[0-9]+", tokens[value]):
    yield value, "option without a number"
  elif not _is_within(tokens[value], ceiling):
    yield value, f"option {tokens[name]} outside 1..{ceiling}"


def check_program_setting(
  tokens: Sequence[str], index: int
) -> Iterator[SyntaxFault]:
  """At a setting that holds a program: no `:=` may follow.

  `toX := …` is allowed in braces, where it is a field of a structure; in
  parentheses it is a setting.
  """
  if next_token(tokens, index) != ":=":
    return
  is_parent = vocabulary.PARENT_SETTING.match(tokens[index].rpartition(".")[2])
  if not is_parent or previous_token(tokens, index) == "(":
    yield index, "setting that is a program"


def check_tactic_settings(
  tokens: Sequence[str], index: int, brackets: Mapping[int, int]
) -> Iterator[SyntaxFault]:
  """After a tactic: `+key`, `(key := literal)` and so on.

  Args:
    tokens: of the proof.
    index: of the tactic.
    brackets: from the index of an opening bracket to that of its closing one.
  """
  start = _next(tokens, index)
  while start < len(tokens):
    key = _next(tokens, start)
    assign = _next(tokens, key)
    if tokens[start] in _MARKS:
      start = key
    elif tokens[start] in ("+", "-"):
      start = assign
    elif tokens[start] == "(" and start in brackets and assign < len(tokens):
      end = brackets[start]
      if tokens[assign] != ":=":
        return
      if not vocabulary.HAS_ITS_OWN_RULE.fullmatch(tokens[key]):
        yield from _literal(tokens, assign, end)
      start = _next(tokens, end)
    else:
      return


def check_config(tokens: Sequence[str], index: int) -> Iterator[SyntaxFault]:
  """After `config`: if `:=` follows, then `{ key := literal, … }`."""
  following = _following(tokens, index)
  if tokens[next(following, index)] != ":=":
    return
  state = "config :="
  for position in following:
    state = _TRANSITIONS[state].get(_class_of(tokens[position]), "")
    if state == "}":
      return
    if not state:
      yield position, _NOT_LITERAL
      return
  yield index, _NOT_LITERAL


def next_token(tokens: Sequence[str], index: int) -> str:
  """The next token that is not a LINE; "" if there is none."""
  position = _next(tokens, index)
  return tokens[position] if position < len(tokens) else ""


def previous_token(tokens: Sequence[str], index: int) -> str:
  """The previous token that is not a LINE; "" if there is none."""
  index -= 1
  index -= index >= 0 and is_line_break(tokens[index])
  return tokens[index] if index >= 0 else ""


def _literal(
  tokens: Sequence[str], assign: int, end: int
) -> Iterator[SyntaxFault]:
  """Faults in the value between `:=` and a closing bracket."""
  state = "key :="
  for position in range(assign + 1, end):
    if is_line_break(tokens[position]):
      continue
    state = _TRANSITIONS[state].get(_class_of(tokens[position]), "")
    if state not in _TRANSITIONS:
      yield position, _NOT_LITERAL
      return
  if state not in ("value", "constant"):
    yield assign, _NOT_LITERAL


def _next(tokens: Sequence[str], index: int) -> int:
  """The index of the next token that is not a LINE; the end if none is."""
  index += 1
  # A LINE never follows a LINE.
  return index + (index < len(tokens) and is_line_break(tokens[index]))


def _following(tokens: Sequence[str], index: int) -> Iterator[int]:
  """The indices of the following tokens that are not LINEs."""
  return (
    i for i in range(index + 1, len(tokens)) if not is_line_break(tokens[i])
  )


def _is_within(digits: str, ceiling: int) -> bool:
  return len(digits) <= _MAX_DIGITS and 0 < int(digits) <= ceiling


def _class_of(token: str) -> str:
  """The class of a token in _TRANSITIONS."""
  kind = kind_of(token)
  if kind == "number" or token in ("true", "false"):
    return "literal"
  is_key = kind == "name" and not vocabulary.PARENT_SETTING.match(token)
  return "name" if is_key else token
