"""What a proof may say: tokens in, its commands or the first refusal out.

Allowed is what is on a list: the kinds of command, the options with a ceiling,
the attributes, the values of a tactic's settings. On top of it come words that
are refused wherever they stand, because a command may begin anywhere and some
tactics and terms do more than prove: they leave a proof open, run code, extend
the syntax or trust more than the kernel. The words are in vocabulary.py, what
may follow them in arguments.py.

The policy reads tokens only, in linear time; it never asks Lean, and what
passes it is not yet proved.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.verification.acceptance import arguments, vocabulary
from kimina_jax.verification.acceptance.arguments import Fault
from kimina_jax.verification.acceptance.lexer import (
  Refusal,
  Scan,
  is_line,
  kind_of,
)
from kimina_jax.verification.acceptance.vocabulary import COMMANDS, Role, Roles

MAX_REC_DEPTH = 100_000
MAX_BRACKETS = 256

# What may continue a declaration where commands start.
_CONTINUATIONS = frozenset(
  "by else extends in then termination_by decreasing_by where with".split()
)
# After these Lean takes a keyword for a name.
_BEFORE_NAMES = frozenset((".", "|"))
_HARMLESS = frozenset(
  (Role.LINE, Role.OPENING, Role.CLOSING, Role.COMMAND, Role.SUSPECT)
)
_ROLES = Roles()

# An index, and the role of the token there.
_Mark = tuple[int, str]


@dataclasses.dataclass(frozen=True)
class SyntaxRules:
  """What may differ from one configuration to the next.

  Attributes:
    max_heartbeats: ceiling of the option of that name.
    native_decide: whether proofs may trust the compiler.
  """

  max_heartbeats: int
  native_decide: bool

  @property
  def ceilings(self) -> dict[str, int]:
    """The options that a proof may set, to at most this."""
    return {
      "maxHeartbeats": self.max_heartbeats,
      "maxRecDepth": MAX_REC_DEPTH,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
  """Where a command starts.

  Attributes:
    kind: its keyword.
    index: of the keyword in the Scan.
    depth: namespaces and sections that are open there.
  """

  kind: str
  index: int
  depth: int


def check_syntax(scan: Scan, rules: SyntaxRules) -> list[Command] | Refusal:
  """The commands of a proof, or why it is refused.

  Of several reasons the first in the text is given. The commands include
  `open` and `set_option` inside others.
  """
  tokens = scan.tokens
  marks = [(i, role) for i, t in enumerate(tokens) if (role := _ROLES[t])]
  commands: list[Command] = []
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
  return scan.refuse(rule, index)


def _words(
  tokens: Sequence[str],
  marks: Sequence[_Mark],
  rules: SyntaxRules,
  brackets: Mapping[int, int],
) -> Iterator[Fault]:
  """Words that are refused, by themselves or for what stands beside them."""
  for index, role in marks:
    if role in _HARMLESS:
      continue
    if role == Role.ATTRIBUTES:
      yield from arguments.attributes(tokens, index)
    elif role == Role.OPTION:
      yield from arguments.option(tokens, index, rules.ceilings)
    elif role == Role.SETTINGS:
      yield from arguments.settings(tokens, index)
    elif role == Role.TACTIC:
      yield from arguments.items(tokens, index, brackets)
    elif role == Role.PROGRAM:
      yield from arguments.program(tokens, index)
    elif role == Role.NATIVE:
      if not rules.native_decide:
        yield index, vocabulary.WORD
    elif role == Role.EVAL:
      if arguments.after(tokens, index) == "%":
        yield index, vocabulary.WORD
    else:
      yield index, role


def _starts(
  tokens: Sequence[str], marks: Sequence[_Mark], brackets: dict[int, int]
) -> Iterator[Fault]:
  """Whatever stands where commands start must be an allowed command.

  That is outside all brackets, so the brackets must match; fills them in.
  """
  first = next((i for i, t in enumerate(tokens) if not is_line(t)), None)
  if first is not None and not _may_start(tokens[first], frozenset()):
    yield first, vocabulary.START
  stack: list[int] = []
  for index, role in marks:
    if role == Role.OPENING or role == Role.ATTRIBUTES:
      stack.append(index)
      if len(stack) > MAX_BRACKETS:
        yield index, f"brackets over {MAX_BRACKETS} deep"
    elif role == Role.CLOSING:
      start = stack.pop() if stack else index
      brackets[start] = index
      opening = tokens[start]
      if opening == "@[" and not _is_declared(tokens, index):
        yield index, "attributes of no declaration"
      if vocabulary.CLOSING.get(opening) != tokens[index]:
        yield index, "bracket that closes nothing"
    elif role == Role.COMMAND and stack and tokens[index] != "open":
      yield index, "command inside brackets"
    elif role == Role.LINE and not stack:
      token = tokens[index + 1]
      if kind_of(token) == "name" and not _may_start(token, _CONTINUATIONS):
        yield index + 1, vocabulary.START
  if stack:
    yield stack[-1], "bracket that does not close"


def _is_declared(tokens: Sequence[str], index: int) -> bool:
  following = arguments.after(tokens, index)
  return following in vocabulary.DECLARATIONS or following == "noncomputable"


def _may_start(token: str, continuations: frozenset[str]) -> bool:
  return token in COMMANDS or token == "@[" or token in continuations


def _scopes(
  tokens: Sequence[str], marks: Sequence[_Mark], commands: list[Command]
) -> Iterator[Fault]:
  """Fills in the commands; namespaces and sections must end by their names."""
  scopes: list[tuple[str, int]] = []
  for index, role in marks:
    if role != Role.COMMAND and role != Role.OPTION:
      continue
    kind = tokens[index]
    if arguments.before(tokens, index) in _BEFORE_NAMES:
      yield index, "keyword as a name"
    # `namespace A.B` opens two scopes, and `end B` ends one.
    names = _name_after(tokens, index).split(".")
    if kind == "end":
      ended = [name for name, _ in scopes[-len(names) :]]
      if ended != names:
        yield index, "end of nothing"
      del scopes[-len(names) :]
    commands.append(Command(kind, index, len(scopes)))
    if kind in ("namespace", "section"):
      scopes += ((name, index) for name in names)
  if scopes:
    yield scopes[-1][1], "section that does not end"


def _name_after(tokens: Sequence[str], index: int) -> str:
  """The name of a scope; "" if it has none."""
  token = arguments.after(tokens, index)
  is_name = token and kind_of(token) == "name" and token not in COMMANDS
  return token.replace("«", "").replace("»", "") if is_name else ""


def _suspects(scan: Scan, marks: Sequence[_Mark]) -> Iterator[Fault]:
  """Words that a symbol with letters would uncover; see vocabulary.py."""
  suspects = [index for index, role in marks if role == Role.SUSPECT]
  offsets = scan.offsets(suspects) if suspects else []
  for index, start in zip(suspects, offsets, strict=True):
    before = scan.text[start - 1 : start]
    if before == "[":
      pattern = vocabulary.SYMBOL_AFTER_BRACKET
      is_hidden = pattern.match(scan.tokens[index]) is not None
    else:
      is_hidden = before not in vocabulary.NO_SYMBOL_BEFORE
    if is_hidden:
      yield index, vocabulary.WORD
