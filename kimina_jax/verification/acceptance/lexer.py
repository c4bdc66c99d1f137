r"""Lexer of Lean 4 text: normalisation and tokens.

In: text of the model or of a data set. Out: the normalised text, and its
tokens. `normalise` gives the one form of a text that is judged, hashed and
sent: `\n` for `\r\n`, and a LexError for characters that Lean and a human
reader may interpret differently. It changes nothing else, so that positions in
its result are positions in the text.

The lexer does as much of Lean's as it takes to separate comments, strings and
quoted names from code, and one statement from another. It drops comments and
white space and interprets no token. One regular expression reads the text
once, in linear time.

Lean's own rules depend on the symbols in scope, which are known to Lean alone:
`//-`, `⁻¹'"'`, `→g`. Therefore what may open a comment, a string or a character
literal is taken for one only where no symbol can reach into it, and is an error
elsewhere. Symbols are cut by a short list; both sides of every comparison pass
through this lexer, so the list need not be complete.

Known traps of Lean's lexer, each an error here: the character after `/-` is
skipped unread (`/-/-/` is closed); after `/--` and `/-!` white space and
comments are skipped before the comment's text begins (`/-- -- -/` is open).
"""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

# Longer texts are rejected without lexing them, to bound its time; no genuine
# proof is longer.
MAX_CHARS = 262_144

_UNUSUAL = re.compile(r"[^\n -~]")
# Control characters, bidirectional and zero-width marks, lone surrogates,
# unassigned and private characters, and the Unicode line separators, which Lean
# does not treat as line breaks.
_FORBIDDEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
_MAX_QUOTED_CHARS = 80
MAX_COMMENT_DEPTH = 4

# Letters beyond ASCII that may start a name: Latin-1, Latin Extended-A, Greek
# but λ Π Σ, Coptic, polytonic Greek, letter-like, script and fraktur. Others
# are symbols, so that what follows one is a token of its own.
_LETTER = "A-Za-z_À-ÖØ-öø-ſα-κμ-ωΑ-ΟΡΤ-Ωϊ-ϻἀ-῾℀-⅏\U0001d49c-\U0001d59f"
_REST = _LETTER + "0-9'!?₀-₉ₐ-ₜᵢ-ᵪⱼ"
# Characters before a comment or a literal that cannot belong to a symbol with
# it. Those of a name cannot belong to a comment either.
_BEFORE_COMMENT = r" \n)\]}⟩,;·" + _REST
_BEFORE_LITERAL = r" \n(\[{⟨,"

_SYMBOLS = ":= => -> <- <;> <|> <| |> <= >= != == && || ++ .. @[".split()
_BRACKETS = r"(){}\[\]⟨⟩⦃⦄,"
_ODD_SPACES = frozenset(
  char for char in map(chr, range(0x3001)) if char.isspace()
) - frozenset(" \n")
# Tokens that are errors.
_BAD = _ODD_SPACES | frozenset(("--", "/-", '"', "'", "«", "»"))


def _token_pattern() -> re.Pattern[str]:
  """Matches blanks, then a token (group 1), or a comment, or nothing."""
  depths = ["(?:[^-/]++|-(?!/)|/(?!-))*"]
  for _ in range(MAX_COMMENT_DEPTH - 1):
    depths.append(f"(?:[^-/]++|-(?!/)|/(?!-)|/-{depths[-1]}-/)*")
  comments = (
    f"--(?<![^{_BEFORE_COMMENT}]--)[^\n]*+",
    f"/-(?<![^{_BEFORE_COMMENT}]/-)"
    f"(?!/|[-!]/|[-!][ \n]*+(?:--|/-)){depths[-1]}-/",
  )
  part = rf'(?:[{_LETTER}][{_REST}]*+|«[^«»"\n]*+»)'
  raw = "|".join(
    rf'{"#" * k}"[^"]*+(?:"(?!{"#" * k})[^"]*+){{0,8}}"{"#" * k}'
    for k in range(1, 4)
  )
  hexadecimal = "x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
  quoted = rf"(?:[^\\'\n]|\\(?:[\\\"'rnt]|{hexadecimal}))"
  # More escapes than Lean has today: a later version may read them.
  perhaps_quoted = rf"(?:[^\\']|\\(?:[^xu]|{hexadecimal}))'"
  symbols = sorted(map(re.escape, _SYMBOLS), key=len, reverse=True)
  tokens = (
    rf'r(?<![^{_BEFORE_LITERAL}]r)(?:"[^"]*+"|{raw})',
    rf"[{_LETTER}][{_REST}]*+(?:\.{part})*",
    rf"[{_BRACKETS}]",
    r"0[xX][0-9a-fA-F]++|0[bB][01]++|0[oO][0-7]++",
    r"[0-9][0-9_]*+(?:\.[0-9][0-9_]*+)?(?:[eE][+-]?[0-9]++)?",
    # A LINE: the line break before a token that begins a line.
    r"\n[ \n]*+(?<=\n)(?!--|/-|\Z)",
    rf'"(?<![^{_BEFORE_LITERAL}]")[^"\\]*+(?:\\[\s\S][^"\\]*+)*"',
    rf"'(?<![^{_BEFORE_LITERAL}]'){quoted}'",
    rf"''(?<![^{_BEFORE_LITERAL}]'')(?!{perhaps_quoted})",
    rf"«[^«»\"\n]*+»(?:\.{part})*",
    "--|/-",
    # `'` belongs to the symbol before it, as in `f ⁻¹' s`, unless Lean could
    # read it as the beginning of a literal.
    rf"(?:{'|'.join(symbols)}|[^\s\"'«»])(?:'(?!{perhaps_quoted}))*",
    r"[^ \n]",
  )
  return re.compile(
    rf" *+(?:{'|'.join(comments)}|({'|'.join(tokens)})|[ \n]++|)"
  )


_TOKEN = _token_pattern()
_NAME_START = re.compile(f"[{_LETTER}«]")
_AMBIGUOUS = re.compile(r"/-(?:/|[-!]/|[-!][ \n]*(?:--|/-))")
_LITERAL = re.compile(r"'(?:[^\\']|\\.[0-9a-fA-F]*)'", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
  """The reason for rejecting a text before Lean, and its position.

  Example:
    Refusal("command or tactic not allowed", "native_decide", 7, 2, 7, 15)

  Attributes:
    rule: the broken rule.
    text: the part that breaks it, cut if it is long.
    line: 1-based.
    column: 0-based, in code points.
    end_line: as `line`.
    end_column: as `column`.
  """

  rule: str
  text: str
  line: int
  column: int
  end_line: int
  end_column: int

  def __str__(self) -> str:
    return f"{self.rule}: {self.text!r} at {self.line}:{self.column}"


class LexError(ValueError):
  """A text that is not Lean.

  Attributes:
    refusal: the broken rule and its position.
  """

  def __init__(self, refusal: Refusal):
    super().__init__(str(refusal))
    self.refusal = refusal


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
  """One token.

  Attributes:
    kind: `name` (keywords too), `number`, `string`, `char` or `symbol`.
    text: as written.
    start: offset into the text, in code points.
    line: 1-based.
    column: 0-based, in code points.
  """

  kind: str
  text: str
  start: int
  line: int
  column: int

  @property
  def end(self) -> int:
    return self.start + len(self.text)


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
  r"""The tokens of a text without their positions, which are rarely needed.

  Attributes:
    text: the whole text.
    start: the offset of the first token.
    tokens: the texts of the tokens in order. Before a token that begins a line
      comes a LINE, a text that starts with `\n`, as no other token does.
  """

  text: str
  start: int
  tokens: list[str]

  def offsets(self, indices: Sequence[int]) -> list[int]:
    """The offsets of tokens in the text; reads the text again."""
    found = _TOKEN.finditer(self.text, self.start)
    starts = [match.start(1) for match in found if match[1]]
    return [starts[index] for index in indices]

  def refusal_at(self, rule: str, index: int) -> Refusal:
    """A refusal at the position of a token."""
    (start,) = self.offsets([index])
    return make_refusal(rule, self.text, start, start + len(self.tokens[index]))


def normalise(text: str) -> str:
  r"""The normalised text, which is judged, hashed and sent.

  Raises:
    LexError: the text is longer than MAX_CHARS, or holds a control character
      other than `\n`, a bidirectional or zero-width mark, or a line break
      other than `\n`: they can make a text look like another one.
  """
  if len(text) > MAX_CHARS:
    rule = f"text longer than {MAX_CHARS} characters"
    raise LexError(make_refusal(rule, text, MAX_CHARS, MAX_CHARS))
  text = text.replace("\r\n", "\n")
  # Fast, and stricter than needed: it is False for unusual spaces too.
  if text.replace("\n", " ").isprintable():
    return text
  for match in _UNUSUAL.finditer(text):
    if unicodedata.category(match[0]) in _FORBIDDEN:
      rule = f"forbidden character U+{ord(match[0]):04X}"
      raise LexError(make_refusal(rule, text, *match.span()))
  return text


def scan(text: str, start: int = 0) -> Scan:
  """The tokens of a normalised text from an offset on, without positions.

  Args:
    text: the whole text.
    start: at a boundary of tokens.

  Raises:
    LexError: a comment or literal that does not end or whose beginning is
      ambiguous; a character that belongs to no token.
  """
  tokens = list(filter(None, _TOKEN.findall(text, start)))
  if not _BAD.isdisjoint(tokens):
    index = next(i for i, token in enumerate(tokens) if token in _BAD)
    raise LexError(_refusal_of(Scan(text, start, tokens), index))
  return Scan(text, start, tokens)


def tokenize(text: str) -> list[Token]:
  """The tokens of a normalised text, with positions.

  Raises:
    LexError: as for `scan`.
  """
  scan(text)
  tokens, line, line_start, position = [], 1, 0, 0
  for match in _TOKEN.finditer(text):
    word = match[1]
    if not word or is_line_break(word):
      continue
    start = match.start(1)
    breaks = text.count("\n", position, start)
    if breaks:
      line += breaks
      line_start = text.rindex("\n", position, start) + 1
    position = start
    tokens.append(Token(kind_of(word), word, start, line, start - line_start))
  return tokens


def without_line_breaks(tokens: Sequence[str]) -> list[str]:
  """The tokens of a Scan without LINEs."""
  return [token for token in tokens if token[0] != "\n"]


def is_line_break(token: str) -> bool:
  """Whether a token of a Scan is a LINE."""
  return token[0] == "\n"


def kind_of(token: str) -> str:
  """The kind of a token, as in Token."""
  first = token[0]
  if first == '"' or (first == "r" and '"' in token):
    return "string"
  if first == "'" and len(token) > 2:
    return "char"
  if first.isascii() and first.isdigit():
    return "number"
  return "name" if _NAME_START.match(first) else "symbol"


def make_refusal(rule: str, text: str, start: int, end: int) -> Refusal:
  """A refusal of `text[start:end]`."""
  quoted = text[start : min(end, start + _MAX_QUOTED_CHARS)]
  return Refusal(rule, quoted, *_position(text, start), *_position(text, end))


def _refusal_of(found: Scan, index: int) -> Refusal:
  (start,) = found.offsets([index])
  rule = _broken_rule(found.text, start, found.tokens[index])
  return found.refusal_at(rule, index)


def _broken_rule(text: str, start: int, token: str) -> str:
  """The rule that a token of _BAD breaks."""
  before = text[start - 1 : start]
  is_comment = token in ("--", "/-")
  apart = _BEFORE_COMMENT if is_comment else _BEFORE_LITERAL
  is_glued = before and not re.match(f"[{apart}]", before)
  if is_comment and is_glued:
    return f"comment glued to {before!r}"
  if token == "/-":
    if _AMBIGUOUS.match(text, start):
      return "ambiguous comment"
    return f"comment that does not end, or is over {MAX_COMMENT_DEPTH} deep"
  if token == '"':
    return (
      f"string glued to {before!r}" if is_glued else "string that does not end"
    )
  if token == "'" and is_glued and _LITERAL.match(text, start):
    return f"character literal glued to {before!r}"
  return "text that is no token"


def _position(text: str, offset: int) -> tuple[int, int]:
  """Line and column of an offset, as Lean counts them."""
  line_start = text.rfind("\n", 0, offset) + 1
  return text.count("\n", 0, offset) + 1, offset - line_start
