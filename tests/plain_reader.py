"""A second lexer of Lean text, simple enough to be verified by reading.

In: text. Out: its words and signs outside comments, strings and characters. It
reads one character at a time, uses no regular expressions, and imports nothing
from the verification package, so that it is an independent oracle. Where the
meaning of a text depends on Lean's version or on the symbols in scope, it
raises Unclear.
"""

import dataclasses


class Unclear(Exception):
  """Text that is ambiguous or malformed in Lean."""


@dataclasses.dataclass(frozen=True)
class Item:
  """A word, a sign, or a literal.

  Attributes:
    kind: `word` (with its dots), `number`, `sign` (one character), `string` or
      `char`.
    text: as written.
    start: offset into the text.
    line: from 1.
    column: from 0.
  """

  kind: str
  text: str
  start: int
  line: int
  column: int

  @property
  def end(self) -> int:
    return self.start + len(self.text)


def read(text: str) -> list[Item]:
  """Returns the items outside comments; raises Unclear."""
  items, at, line, margin = [], 0, 1, 0
  while at < len(text):
    kind, end = _next(text, at)
    if kind:
      items.append(Item(kind, text[at:end], at, line, at - margin))
    for index in range(at, end):
      if text[index] == "\n":
        line, margin = line + 1, index + 1
    at = end
  return items


def _next(text: str, at: int) -> tuple[str, int]:
  """Returns kind ("" for blanks and comments) and end of what starts here."""
  char, after = text[at], text[at + 1 : at + 2]
  if char in " \n":
    return "", at + 1
  if char == "-" and after == "-":
    return "", _line_end(text, at)
  if char == "/" and after == "-":
    return "", _comment_end(text, at)
  if char == '"':
    return "string", _string_end(text, at)
  if char == "r" and _raw_hashes(text, at) is not None:
    return "string", _raw_end(text, at)
  if char == "'":
    return _quote(text, at)
  if char in "0123456789":
    return "number", _run_end(text, at, "0123456789_")
  if char == "«" or starts_name(char):
    return "word", _name_end(text, at)
  if char == "»" or char.isspace():
    raise Unclear(f"{char!r} at {at}")
  return "sign", at + 1


def _line_end(text: str, at: int) -> int:
  _demand_clear_start(text, at)
  end = text.find("\n", at)
  return len(text) if end < 0 else end


def _comment_end(text: str, at: int) -> int:
  _demand_clear_start(text, at)
  third = text[at + 2 : at + 3]
  if third == "/":
    raise Unclear(f"comment that starts `/-/` at {at}")
  body = at + 2
  if third and third in "-!":
    body = at + 3
    if text[body : body + 1] == "/":
      raise Unclear(f"comment that may end at once at {at}")
    while text[body : body + 1] in (" ", "\n"):
      body += 1
    if text[body : body + 2] in ("--", "/-"):
      raise Unclear(f"comment in front of a doc comment's text at {at}")
    body = at + 3
  depth = 1
  while body < len(text):
    two = text[body : body + 2]
    if two == "/-":
      depth, body = depth + 1, body + 2
    elif two == "-/":
      depth, body = depth - 1, body + 2
    else:
      body += 1
    if depth == 0:
      return body
  raise Unclear(f"comment without end at {at}")


def _demand_clear_start(text: str, at: int) -> None:
  """Refuses a comment glued to a sign that may be part of a longer symbol."""
  before = text[at - 1 : at]
  if before and before not in " \n)]}⟩,;·" and not continues_name(before):
    raise Unclear(f"comment glued to {before!r} at {at}")


def _string_end(text: str, at: int) -> int:
  at, start = at + 1, at
  while at < len(text):
    if text[at] == '"':
      return at + 1
    at += 2 if text[at] == "\\" else 1
  raise Unclear(f"string without end at {start}")


def _raw_hashes(text: str, at: int) -> int | None:
  """Returns the number of `#` of the raw string here; None if there is none."""
  end = _run_end(text, at + 1, "#")
  return end - at - 1 if text[end : end + 1] == '"' else None


def _raw_end(text: str, at: int) -> int:
  before = text[at - 1 : at]
  if before and before not in " \n([{⟨,":
    raise Unclear(f"raw string glued to {before!r} at {at}")
  hashes = _raw_hashes(text, at)
  end = text.find('"' + "#" * hashes, at + hashes + 2)
  if end < 0:
    raise Unclear(f"raw string without end at {at}")
  return end + 1 + hashes


def _quote(text: str, at: int) -> tuple[str, int]:
  """Returns kind and end: a character literal, or a single sign."""
  end = _char_end(text, at)
  if end is None:
    return "sign", at + 1
  before = text[at - 1 : at]
  if before and before not in " \n([{⟨,":
    raise Unclear(f"character glued to {before!r} at {at}")
  return "char", end


def _char_end(text: str, at: int) -> int | None:
  inner = text[at + 1 : at + 2]
  if inner in ("", "'"):
    return None
  end = at + 2
  if inner == "\\":
    mark = text[at + 2 : at + 3]
    end = at + 3 + {"x": 2, "u": 4}.get(mark, 0)
    for digit in text[at + 3 : end]:
      if digit not in "0123456789abcdefABCDEF":
        return None
  return end + 1 if text[end : end + 1] == "'" else None


def _name_end(text: str, at: int) -> int:
  """The end of a name with dots: `a.b`, `«a b».c`."""
  while True:
    if text[at] == "«":
      end = text.find("»", at)
      if end < 0 or "\n" in text[at:end]:
        raise Unclear(f"name without end at {at}")
      at = end + 1
    else:
      at += 1
      while at < len(text) and continues_name(text[at]):
        at += 1
    after = text[at + 1 : at + 2]
    if text[at : at + 1] != "." or not after:
      return at
    if after != "«" and not starts_name(after):
      return at
    at += 1


def _run_end(text: str, at: int, chars: str) -> int:
  while at < len(text) and text[at] in chars:
    at += 1
  return at


def starts_name(char: str) -> bool:
  """Whether a name may start with this character, in the newest Lean."""
  code = ord(char)
  return (
    "a" <= char <= "z"
    or "A" <= char <= "Z"
    or char == "_"
    or (0x3B1 <= code <= 0x3C9 and char != "λ")
    or (0x391 <= code <= 0x3A9 and char not in "ΠΣ")
    or 0x3CA <= code <= 0x3FB
    or 0x1F00 <= code <= 0x1FFE
    or 0x2100 <= code <= 0x214F
    or 0x1D49C <= code <= 0x1D59F
    or (0xC0 <= code <= 0x17F and char not in "×÷")
  )


def continues_name(char: str) -> bool:
  """Whether this character may continue a name."""
  code = ord(char)
  return (
    starts_name(char)
    or "0" <= char <= "9"
    or char in "'!?"
    or 0x2080 <= code <= 0x2089
    or 0x2090 <= code <= 0x209C
    or 0x1D62 <= code <= 0x1D6A
    or code == 0x2C7C
  )
