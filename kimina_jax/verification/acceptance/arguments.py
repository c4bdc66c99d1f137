"""What may follow a word that wants arguments: tokens in, faults out.

Attributes, options and the settings of tactics. A setting such as
`linarith (config := …)` is evaluated as a program, and some hold one, so only
literals may be written there. It reads no further than the arguments go, and
decides nothing about the word itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.verification.acceptance import vocabulary
from kimina_jax.verification.acceptance.lexer import is_line, kind_of

_ATTRIBUTES = frozenset(("simp", "reducible"))
_NOT_LITERAL = "setting that is not literal"
_MAX_DIGITS = 12
# What may stand between a tactic and its settings: `solve_by_elim*`, `simpa !`.
_MARKS = ("*", "!", "?")
# Literal settings: from what was read, by what comes next.
_STEPS = {
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

# A token's index, and the rule that it breaks.
Fault = tuple[int, str]


def attributes(tokens: Sequence[str], index: int) -> Iterator[Fault]:
  """After `@[`: attributes without arguments, of a short list."""
  for position in _following(tokens, index):
    token = tokens[position]
    if token == "]":
      return
    if token not in _ATTRIBUTES and token != ",":
      yield position, "attribute not allowed"
      return


def option(
  tokens: Sequence[str], index: int, ceilings: Mapping[str, int]
) -> Iterator[Fault]:
  """After `set_option`: an option and a number up to its ceiling, not 0.

  Lean takes 0 for no limit.
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


def program(tokens: Sequence[str], index: int) -> Iterator[Fault]:
  """At a setting that holds programs: it may not be set.

  `toX := …` may, as a field in braces; in parentheses it is a setting.
  """
  if after(tokens, index) != ":=":
    return
  is_parent = vocabulary.PARENT_SETTING.match(tokens[index].rpartition(".")[2])
  if not is_parent or before(tokens, index) == "(":
    yield index, "setting that is a program"


def items(
  tokens: Sequence[str], index: int, brackets: Mapping[int, int]
) -> Iterator[Fault]:
  """After a tactic: `+key`, `(key := literal)` and so on, as many as come.

  Args:
    tokens: of the proof.
    index: of the tactic.
    brackets: from the index of an opening one to that of its closing one.
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


def settings(tokens: Sequence[str], index: int) -> Iterator[Fault]:
  """After `config`: `:= { key := literal, … }`, if any `:=` follows."""
  following = _following(tokens, index)
  if tokens[next(following, index)] != ":=":
    return
  state = "config :="
  for position in following:
    state = _STEPS[state].get(_class_of(tokens[position]), "")
    if state == "}":
      return
    if not state:
      yield position, _NOT_LITERAL
      return
  yield index, _NOT_LITERAL


def after(tokens: Sequence[str], index: int) -> str:
  """The next token that is no LINE; "" if there is none."""
  position = _next(tokens, index)
  return tokens[position] if position < len(tokens) else ""


def before(tokens: Sequence[str], index: int) -> str:
  """The last token that is no LINE; "" if there is none."""
  index -= 1
  index -= index >= 0 and is_line(tokens[index])
  return tokens[index] if index >= 0 else ""


def _literal(tokens: Sequence[str], assign: int, end: int) -> Iterator[Fault]:
  """The value between `:=` and a bracket."""
  state = "key :="
  for position in range(assign + 1, end):
    if is_line(tokens[position]):
      continue
    state = _STEPS[state].get(_class_of(tokens[position]), "")
    if state not in _STEPS:
      yield position, _NOT_LITERAL
      return
  if state not in ("value", "constant"):
    yield assign, _NOT_LITERAL


def _next(tokens: Sequence[str], index: int) -> int:
  """The next index without a LINE; at least their number if there is none."""
  index += 1
  # No LINE follows another.
  return index + (index < len(tokens) and is_line(tokens[index]))


def _following(tokens: Sequence[str], index: int) -> Iterator[int]:
  """The indices after one, without the LINEs."""
  return (i for i in range(index + 1, len(tokens)) if not is_line(tokens[i]))


def _is_within(digits: str, ceiling: int) -> bool:
  return len(digits) <= _MAX_DIGITS and 0 < int(digits) <= ceiling


def _class_of(token: str) -> str:
  """A token as a key of the steps."""
  kind = kind_of(token)
  if kind == "number" or token in ("true", "false"):
    return "literal"
  is_key = kind == "name" and not vocabulary.PARENT_SETTING.match(token)
  return "name" if is_key else token
