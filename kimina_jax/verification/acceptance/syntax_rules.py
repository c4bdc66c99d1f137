"""Syntax rules: the commands, tactics and terms that a proof may contain.

In: the tokens of a proof. Out: its commands, or the first refusal. Commands,
options, attributes and the values of tactic settings are allowed by list. Other
words are refused wherever they occur, because a command may begin anywhere and
some tactics and terms do more than prove: they leave a proof open, run code,
extend the syntax or trust more than the kernel. The words are listed in
vocabulary.py; the rules for what may follow a word are in arguments.py.

The rules read tokens only, in linear time, without Lean; a proof that obeys
them is not yet proved.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.verification.acceptance import arguments, vocabulary
from kimina_jax.verification.acceptance.arguments import SyntaxFault
from kimina_jax.verification.acceptance.lexer import (
  Refusal,
  Scan,
  is_line_break,
  kind_of,
)
from kimina_jax.verification.acceptance.vocabulary import (
  ALLOWED_COMMANDS,
  TokenRole,
  TokenRoles,
)

MAX_REC_DEPTH = 100_000
MAX_BRACKETS = 256

# Tokens that may begin a line outside brackets and continue a declaration.
_CONTINUATIONS = frozenset(
  "by else extends in then termination_by decreasing_by where with".split()
)
# After these tokens Lean reads a keyword as a name.
_BEFORE_NAMES = frozenset((".", "|"))
_HARMLESS = frozenset(
  (
    TokenRole.LINE,
    TokenRole.OPENING,
    TokenRole.CLOSING,
    TokenRole.COMMAND,
    TokenRole.SUSPECT,
  )
)
_ROLES = TokenRoles()

# The index of a token, and its role.
_Mark = tuple[int, str]


@dataclasses.dataclass(frozen=True)
class SyntaxRules:
  """The rules that depend on the settings of the checker.

  Attributes:
    max_heartbeats: ceiling of Lean's option of that name.
    native_decide: whether proofs may trust Lean's compiler.
  """

  max_heartbeats: int
  native_decide: bool

  @property
  def ceilings(self) -> dict[str, int]:
    """The options that a proof may set, with their largest values."""
    return {
      "maxHeartbeats": self.max_heartbeats,
      "maxRecDepth": MAX_REC_DEPTH,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class CommandStart:
  """The start of a command in a proof.

  Attributes:
    kind: its keyword.
    index: of the keyword in the Scan.
    depth: number of namespaces and sections that are open there.
  """

  kind: str
  index: int
  depth: int


def check_syntax(
  scan: Scan, rules: SyntaxRules
) -> list[CommandStart] | Refusal:
  """The commands of a proof, or the refusal that comes first in its text.

  The commands include `open … in` and `set_option … in` inside others.
  """
  tokens = scan.tokens
  marks = [(i, role) for i, t in enumerate(tokens) if (role := _ROLES[t])]
  commands: list[CommandStart] = []
  brackets: dict[int, int] = {}
  faults = [
    *itertools.islice(_starts(tokens, marks, brackets), 1),
    *itertools.islice(_words(tokens, marks, rules, brackets), 1),
    *itertools.islice(_scopes(tokens, marks, commands), 1),
    *itertools.islice(_suspects(scan, marks), 1),
  ]
  if not faults:
    return commands
  index, rule = min(faults)
  return scan.refusal_at(rule, index)


def _words(
  tokens: Sequence[str],
  marks: Sequence[_Mark],
  rules: SyntaxRules,
  brackets: Mapping[int, int],
) -> Iterator[SyntaxFault]:
  """Words that are refused, by themselves or for what follows them."""
  for index, role in marks:
    if role in _HARMLESS:
      continue
    if role == TokenRole.ATTRIBUTES:
      yield from arguments.check_attributes(tokens, index)
    elif role == TokenRole.OPTION:
      yield from arguments.check_option(tokens, index, rules.ceilings)
    elif role == TokenRole.SETTINGS:
      yield from arguments.check_config(tokens, index)
    elif role == TokenRole.TACTIC:
      yield from arguments.check_tactic_settings(tokens, index, brackets)
    elif role == TokenRole.PROGRAM:
      yield from arguments.check_program_setting(tokens, index)
    elif role == TokenRole.NATIVE:
      if not rules.native_decide:
        yield index, vocabulary.WORD_RULE
    elif role == TokenRole.EVAL:
      if arguments.next_token(tokens, index) == "%":
        yield index, vocabulary.WORD_RULE
    else:
      yield index, role


def _starts(
  tokens: Sequence[str], marks: Sequence[_Mark], brackets: dict[int, int]
) -> Iterator[SyntaxFault]:
  """Lines outside brackets that do not start with an allowed command.

  Brackets must match; `brackets` is filled in: from the index of an opening one
  to that of its closing one.
  """
  first = next((i for i, t in enumerate(tokens) if not is_line_break(t)), None)
  if first is not None and not _may_start(tokens[first], frozenset()):
    yield first, vocabulary.START_RULE
  stack: list[int] = []
  for index, role in marks:
    if role == TokenRole.OPENING or role == TokenRole.ATTRIBUTES:
      stack.append(index)
      if len(stack) > MAX_BRACKETS:
        yield index, f"brackets over {MAX_BRACKETS} deep"
    elif role == TokenRole.CLOSING:
      start = stack.pop() if stack else index
      brackets[start] = index
      opening = tokens[start]
      if opening == "@[" and not _is_declared(tokens, index):
        yield index, "attributes of no declaration"
      if vocabulary.CLOSING.get(opening) != tokens[index]:
        yield index, "bracket that closes nothing"
    elif role == TokenRole.COMMAND and stack and tokens[index] != "open":
      yield index, "command inside brackets"
    elif role == TokenRole.LINE and not stack:
      token = tokens[index + 1]
      if kind_of(token) == "name" and not _may_start(token, _CONTINUATIONS):
        yield index + 1, vocabulary.START_RULE
  if stack:
    yield stack[-1], "bracket that does not close"


def _is_declared(tokens: Sequence[str], index: int) -> bool:
  following = arguments.next_token(tokens, index)
  return following in vocabulary.DECLARATIONS or following == "noncomputable"


def _may_start(token: str, continuations: frozenset[str]) -> bool:
  return token in ALLOWED_COMMANDS or token == "@[" or token in continuations


def _scopes(
  tokens: Sequence[str], marks: Sequence[_Mark], commands: list[CommandStart]
) -> Iterator[SyntaxFault]:
  """Namespaces and sections that do not end by name; fills in `commands`."""
  scopes: list[tuple[str, int]] = []
  for index, role in marks:
    if role != TokenRole.COMMAND and role != TokenRole.OPTION:
      continue
    kind = tokens[index]
    if arguments.previous_token(tokens, index) in _BEFORE_NAMES:
      yield index, "keyword as a name"
    # `namespace A.B` opens two scopes, and `end B` ends one.
    names = _name_after(tokens, index).split(".")
    if kind == "end":
      ended = [name for name, _ in scopes[-len(names) :]]
      if ended != names:
        yield index, "end of nothing"
      del scopes[-len(names) :]
    commands.append(CommandStart(kind, index, len(scopes)))
    if kind in ("namespace", "section"):
      scopes += ((name, index) for name in names)
  if scopes:
    yield scopes[-1][1], "section that does not end"


def _name_after(tokens: Sequence[str], index: int) -> str:
  """The name of a namespace or section; "" if it has none."""
  token = arguments.next_token(tokens, index)
  is_name = token and kind_of(token) == "name" and token not in ALLOWED_COMMANDS
  return token.replace("«", "").replace("»", "") if is_name else ""


def _suspects(scan: Scan, marks: Sequence[_Mark]) -> Iterator[SyntaxFault]:
  """Refused words that end a name after a symbol; see vocabulary._HIDDEN."""
  suspects = [index for index, role in marks if role == TokenRole.SUSPECT]
  offsets = scan.offsets(suspects) if suspects else []
  for index, start in zip(suspects, offsets, strict=True):
    before = scan.text[start - 1 : start]
    if before == "[":
      pattern = vocabulary.SYMBOL_AFTER_BRACKET
      is_hidden = pattern.match(scan.tokens[index]) is not None
    else:
      is_hidden = before not in vocabulary.NO_SYMBOL_BEFORE
    if is_hidden:
      yield index, vocabulary.WORD_RULE
