"""What a proof may say: tokens in, the first refusal out.

A list of what is allowed: the kinds of command, the options with a ceiling,
the attributes. On top of it, words that are refused wherever they stand: they
leave a proof open, run code, extend the syntax or trust more than the kernel.
The policy reads tokens only; it never asks Lean, and what passes it is not yet
proved.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence

from kimina_jax.verification.lexer import Token

# Names that the audit makes begin so; a proof may not utter them.
RESERVED_PREFIXES = ("__stmt_", "__ok_")

DECLARATIONS = frozenset(
  "theorem lemma def abbrev example structure inductive".split()
)
_COMMANDS = DECLARATIONS | frozenset(
  "namespace section end open set_option noncomputable".split()
)
# What may continue a declaration where commands start.
_CONTINUATIONS = frozenset(
  "by else extends in then termination_by decreasing_by where with".split()
)
_OPTION_CEILINGS = {"maxHeartbeats": 1_000_000, "maxRecDepth": 100_000}
_ATTRIBUTES = frozenset(("simp", "reducible"))

# Refused unless they follow a dot (`h.prefix` is an ordinary name).
_KEYWORDS = frozenset(
  """
  admit stop native_decide bv_decide bv_check sleep plausible slim_check
  axiom opaque unsafe partial private protected nonrec instance class deriving
  mutual coinductive attribute variable universe include omit
  export import prelude module public meta local scoped initialize
  builtin_initialize macro macro_rules syntax notation notation3 infix infixl
  infixr prefix postfix elab elab_rules by_elab simproc dsimproc
  builtin_simproc builtin_dsimproc simproc_decl dsimproc_decl
  unif_hint binder_predicate alias recall proof_wanted seal unseal
  extend_docs add_decl_doc suppress_compilation unsuppress_compilation
  compile_inductive compile_def irreducible_def init_quot grind_pattern
  add_aesop_rules erase_aesop_rules library_note tactic_extension
  initialize_simps_projections mk_iff_of_inductive_prop to_additive to_dual
  assert_exists assert_not_exists assert_not_imported copy_doc_string
  set_premise_selector set_library_suggestions gen_injective_theorems
  reset_grind_attrs include_str dbg_trace whatsnew
  """.split()
)
_KEYWORD_STEMS = ("run_", "register_", "declare_")
# Refused as any part of any name.
_CONSTANTS = frozenset(
  """
  sorryAx ofReduceBool ofReduceNat reduceBool reduceNat trustCompiler
  unsafeCast implemented_by extern csimp native lcProof lcUnreachable
  """.split()
)
# Suggestion tactics that may close a goal with a hidden sorry.
_SUGGESTIONS = frozenset(("apply?", "rw?", "rewrites?"))
_OPENING, _CLOSING = "([{⟨", ")]}⟩"


@dataclasses.dataclass(frozen=True)
class Refusal:
  """Why a text is not sent to Lean, and where.

  Example:
    Refusal("command or tactic not allowed", "native_decide", 7, 2)
  """

  rule: str
  text: str
  line: int
  column: int

  def __str__(self) -> str:
    return f"{self.rule}: {self.text!r} at {self.line}:{self.column}"


@dataclasses.dataclass(frozen=True)
class Command:
  """Where a command starts.

  Attributes:
    kind: its keyword.
    index: of the keyword among the tokens.
    depth: namespaces and sections that are open there.
  """

  kind: str
  index: int
  depth: int


def check(tokens: Sequence[Token]) -> Refusal | None:
  """The first reason to refuse a proof, or None."""
  refusals = [_check_token(token) for token in tokens]
  refusals += [_check_start(tokens), _check_brackets(tokens)]
  for index, token in enumerate(tokens):
    if token.text == "@[":
      refusals.append(_check_attributes(tokens, index))
    elif token.text == "set_option":
      refusals.append(_check_option(tokens, index))
  refusals.append(_check_nesting(tokens))
  found = [refusal for refusal in refusals if refusal is not None]
  return min(found, key=lambda r: (r.line, r.column), default=None)


def commands(tokens: Sequence[Token]) -> list[Command]:
  """The commands of a proof; also `open` and `set_option` inside one."""
  found, depth = [], 0
  for index, token in enumerate(tokens):
    if token.kind != "name" or token.text not in _COMMANDS:
      continue
    depth -= token.text == "end"
    found.append(Command(token.text, index, depth))
    depth += token.text in ("namespace", "section")
  return found


def _check_token(token: Token) -> Refusal | None:
  if token.kind == "string" and "{" in token.text:
    return _refuse("string that may hold code", token)
  if token.kind == "symbol" and token.text.startswith("#"):
    return _refuse("command not allowed", token)
  if token.kind != "name":
    return None
  if any(prefix in token.text for prefix in RESERVED_PREFIXES):
    return _refuse("name reserved for the audit", token)
  if token.text in _SUGGESTIONS:
    return _refuse("tactic that may leave a proof open", token)
  for dot, word in re.findall(r"(\.?)([A-Za-z_][A-Za-z0-9_]*)", token.text):
    if word in _CONSTANTS:
      return _refuse("constant not allowed", token)
    if dot:
      continue
    if word == "sorry":
      return _refuse("sorry", token)
    if word in _KEYWORDS or word.startswith(_KEYWORD_STEMS):
      return _refuse("command or tactic not allowed", token)
  return None


def _check_start(tokens: Sequence[Token]) -> Refusal | None:
  """Whatever stands where commands start must be an allowed command."""
  depth = 0
  for index, token in enumerate(tokens):
    starts = index == 0 or (token.column == 0 and depth == 0)
    allowed = token.text in _COMMANDS or token.text == "@["
    allowed |= index > 0 and (
      token.kind != "name" or token.text in _CONTINUATIONS
    )
    if starts and not allowed:
      return _refuse("command not allowed", token)
    if depth and token.text in DECLARATIONS:
      return _refuse("command inside brackets", token)
    depth += _bracket_step(token)
  return None


def _check_brackets(tokens: Sequence[Token]) -> Refusal | None:
  stack = []
  for token in tokens:
    step = _bracket_step(token)
    if step > 0:
      stack.append(token)
    elif step < 0:
      opening = stack.pop().text[-1] if stack else " "
      if _CLOSING.index(token.text) != _OPENING.find(opening):
        return _refuse("bracket that closes nothing", token)
  return _refuse("bracket that does not close", stack[-1]) if stack else None


def _bracket_step(token: Token) -> int:
  if token.kind != "symbol":
    return 0
  return (token.text[-1] in _OPENING) - (token.text in _CLOSING)


def _check_attributes(tokens: Sequence[Token], index: int) -> Refusal | None:
  for token in itertools.islice(tokens, index + 1, None):
    if token.text == "]":
      return None
    if token.text not in _ATTRIBUTES and token.text != ",":
      return _refuse("attribute not allowed", token)
  return _refuse("attribute not allowed", tokens[index])


def _check_option(tokens: Sequence[Token], index: int) -> Refusal | None:
  name, value = [*tokens[index + 1 : index + 3], None, None][:2]
  if name is None or name.text not in _OPTION_CEILINGS:
    return _refuse("option not allowed", name or tokens[index])
  ceiling = _OPTION_CEILINGS[name.text]
  if value is None or not value.text.isdecimal():
    return _refuse("option without a number", name)
  if not 0 < int(value.text) <= ceiling:
    return _refuse(f"option {name.text} outside 1..{ceiling}", value)
  return None


def _check_nesting(tokens: Sequence[Token]) -> Refusal | None:
  depth, last = 0, None
  for command in commands(tokens):
    if command.kind not in ("namespace", "section", "end"):
      continue
    last = tokens[command.index]
    depth = command.depth + (command.kind != "end")
    if depth < 0:
      return _refuse("end of nothing", last)
  return _refuse("section that does not end", last) if depth else None


def _refuse(rule: str, token: Token) -> Refusal:
  return Refusal(rule, token.text, token.line, token.column)
