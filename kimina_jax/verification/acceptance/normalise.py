r"""The one form of a text: what is judged, hashed and sent.

In: text of a model or a data set. Out: the same text with `\n` for `\r\n`, or
a LexError if it holds what Lean and a reader might take differently. The
filter, the key of known verdicts and the wire all take its result; it changes
nothing else, so positions in it are positions in the text.
"""

import dataclasses
import re
import unicodedata

# Longer ones are refused unread: no proof is, and reading takes time.
MAX_CHARS = 262_144

_UNUSUAL = re.compile(r"[^\n -~]")
# Controls, marks of direction and zero width, halves of pairs, characters
# without a meaning that all agree on, line breaks that are none to Lean.
_FORBIDDEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
_MAX_QUOTED_CHARS = 80


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
  """Why a text is not sent to Lean, and where.

  Example:
    Refusal("command or tactic not allowed", "native_decide", 7, 2, 7, 15)

  Attributes:
    rule: that the text breaks.
    text: what breaks it, cut if it is long.
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
    refusal: which rule it breaks, and where.
  """

  def __init__(self, refusal: Refusal):
    super().__init__(str(refusal))
    self.refusal = refusal


def normalise(text: str) -> str:
  r"""The one form of a text.

  Raises:
    LexError: the text is longer than MAX_CHARS, or holds a control character
      other than `\n`, a bidirectional or zero-width mark, or a line break
      other than `\n`: they can make text look like what it is not.
  """
  if len(text) > MAX_CHARS:
    rule = f"text longer than {MAX_CHARS} characters"
    raise LexError(refuse(rule, text, MAX_CHARS, MAX_CHARS))
  text = text.replace("\r\n", "\n")
  # Fast, and stricter than it need be: it minds unusual spaces too.
  if text.replace("\n", " ").isprintable():
    return text
  for match in _UNUSUAL.finditer(text):
    if unicodedata.category(match[0]) in _FORBIDDEN:
      rule = f"forbidden character U+{ord(match[0]):04X}"
      raise LexError(refuse(rule, text, *match.span()))
  return text


def refuse(rule: str, text: str, start: int, end: int) -> Refusal:
  """Says what is wrong with `text[start:end]`."""
  quoted = text[start : min(end, start + _MAX_QUOTED_CHARS)]
  return Refusal(rule, quoted, *_position(text, start), *_position(text, end))


def _position(text: str, offset: int) -> tuple[int, int]:
  """Line and column of an offset, as Lean counts them."""
  line_start = text.rfind("\n", 0, offset) + 1
  return text.count("\n", 0, offset) + 1, offset - line_start
