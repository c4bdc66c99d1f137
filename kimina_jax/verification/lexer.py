"""Lean 4 text in, tokens with positions out.

As much of Lean's lexer as it takes to tell comments, strings and quoted names
from code, and one statement from another. It drops comments and white space
and never interprets a token. Where Lean's own rules depend on the tokens in
scope (multi-character symbols), it takes a fixed list; both sides of every
comparison pass through here, so the list needs no completeness.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterator

# Letters beyond ASCII that may start a name: Latin-1, Latin Extended-A, Greek
# but λ Π Σ, Coptic, polytonic Greek, letter-like, script and fraktur. Others
# are symbols, so that what follows one is a token of its own.
_LETTER = "A-Za-z_À-ÖØ-öø-ſα-κμ-ωΑ-ΟΡΤ-Ωϊ-ϻἀ-῾℀-⅏\U0001d49c-\U0001d59f"
_REST = _LETTER + "0-9'!?₀-₉ₐ-ₜᵢ-ᵪⱼ"
_PART = rf"(?:[{_LETTER}][{_REST}]*|«[^»\n]*»)"

_SYMBOLS = ":= => -> <- <;> <|> <| |> <= >= != == && || ++ .. '' @[".split()

_TOKEN = re.compile(
  "|".join(
    (
      r"(?P<space>[ \n]+)",
      r"(?P<line_comment>--[^\n]*)",
      r"(?P<block_comment>/-)",
      r'(?P<raw_string>r(?P<hashes>#*)"(?s:.*?)"(?P=hashes))',
      r'(?P<string>"(?s:[^"\\]|\\.)*")',
      r"(?P<char>'(?:\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^xu])|[^\\'\n])')",
      rf"(?P<name>{_PART}(?:\.{_PART})*)",
      r"(?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+"
      r"|[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?)",
      "(?P<symbol>"
      + "|".join(re.escape(s) for s in sorted(_SYMBOLS, key=len, reverse=True))
      + r"|[^\s\"«»])",
    )
  )
)
_BLOCK_COMMENT = re.compile(r"/-|-/")
# A symbol that Lean knows and this list does not could end in the first
# character of what looks like a comment or a character literal (`//-`,
# `⁻¹'`), so these are taken only where no symbol can reach into them.
_BEFORE_COMMENT = frozenset(" \n)]}⟩,;·")
_BEFORE_CHAR = frozenset(" \n([{⟨,")
_UNUSUAL = re.compile(r"[^\n -~]")
_FORBIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


class LexError(ValueError):
  """Text that is not Lean; knows where.

  Attributes:
    line: 1-based.
    column: 0-based, in code points.
  """

  def __init__(self, reason: str, line: int, column: int):
    super().__init__(f"{reason} at {line}:{column}")
    self.line = line
    self.column = column


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


def normalise(text: str) -> str:
  r"""The one form of a text that is judged, hashed and sent.

  `\r\n` becomes `\n`.

  Raises:
    LexError: on any other control character, on bidirectional and zero-width
      marks, and on line breaks other than `\n`: they can make text look like
      what it is not.
  """
  text = text.replace("\r\n", "\n")
  for match in _UNUSUAL.finditer(text):
    if unicodedata.category(match[0]) in _FORBIDDEN_CATEGORIES:
      code = f"U+{ord(match[0]):04X}"
      raise _error(f"forbidden character {code}", text, match.start())
  return text


def tokenize(text: str) -> list[Token]:
  """The tokens of a normalised text, without comments.

  Raises:
    LexError: a comment or string that does not end, a character that starts
      no token.
  """
  return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
  position, line, line_start = 0, 1, 0
  while position < len(text):
    match = _TOKEN.match(text, position)
    if match is None:
      raise _error("text that is no token", text, position)
    kind, end = match.lastgroup, match.end()
    _check_glued(kind, text, position)
    if kind == "block_comment":
      end = _end_of_block_comment(text, position)
    elif kind not in ("space", "line_comment"):
      kind = "string" if kind == "raw_string" else kind
      column = position - line_start
      yield Token(kind, text[position:end], position, line, column)
    breaks = text.count("\n", position, end)
    if breaks:
      line += breaks
      line_start = text.rindex("\n", position, end) + 1
    position = end


def _check_glued(kind: str, text: str, position: int) -> None:
  before = text[position - 1 : position]
  if kind in ("line_comment", "block_comment"):
    # A name cannot reach into a comment either.
    fine = before in _BEFORE_COMMENT or re.match(f"[{_REST}]", before)
  elif kind == "char":
    fine = before in _BEFORE_CHAR
  else:
    return
  if before and not fine:
    raise _error(f"{kind} glued to {before!r}", text, position)


def _end_of_block_comment(text: str, start: int) -> int:
  if text.startswith(("/--/", "/-!/"), start):
    # Whether this ends at once depends on the version of Lean.
    raise _error("ambiguous comment", text, start)
  depth = 0
  for mark in _BLOCK_COMMENT.finditer(text, start):
    depth += 1 if mark[0] == "/-" else -1
    if depth == 0:
      return mark.end()
  raise _error("comment that does not end", text, start)


def _error(reason: str, text: str, offset: int) -> LexError:
  line_start = text.rfind("\n", 0, offset) + 1
  line = text.count("\n", 0, offset) + 1
  return LexError(reason, line, offset - line_start)
