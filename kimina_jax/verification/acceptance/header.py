"""A data set's header taken apart: trusted text in, what to load out.

In: the Lean text before a statement. Out: its imports, which a process loads
once, and the rest (options, opened namespaces, whatever else), which is
elaborated on top of them. Options that would let Lean run without end are
brought to their ceilings, and a note says so; nothing else is changed, and no
option is added.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

from kimina_jax.verification.acceptance.lexer import Token, normalise, tokenize
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules

_MAX_KNOWN = 4096
_BASES = {"0x": 16, "0b": 2, "0o": 8}
# Words that do not end a line of imports.
_INSIDE = frozenset(("public", "meta", "import", "all"))


@dataclasses.dataclass(frozen=True)
class Header:
  r"""A header.

  Example:
    Header(text="import Mathlib\n\nset_option maxHeartbeats 0\n\n",
           words=("import", "Mathlib", "set_option", "maxHeartbeats", "0"),
           blank="              \n\n                          \n\n",
           imports="import Mathlib",
           preamble="set_option maxHeartbeats 400000",
           notes=("set_option maxHeartbeats 0 in the header became 400000",))

  Attributes:
    text: normalised, and what a final block begins with.
    words: its tokens; a final block may space them otherwise.
    blank: as many lines and columns of nothing.
    imports: a line for each, without comments, so that headers that import
      the same are seen to; "" if there are none.
    preamble: the rest up to its last token; "" if there is none.
    notes: what was changed.
  """

  text: str
  words: tuple[str, ...]
  blank: str
  imports: str
  preamble: str
  notes: tuple[str, ...]


@functools.lru_cache(maxsize=_MAX_KNOWN)
def parse_header(text: str, rules: SyntaxRules) -> Header:
  """Takes a header apart.

  Raises:
    ValueError: it is not Lean.
  """
  text = normalise(text)
  tokens = tokenize(text)
  count = _num_import_tokens(tokens)
  preamble, notes = _limit(text, tokens[count:], rules)
  return Header(
    text=text,
    words=tuple(token.text for token in tokens),
    blank=blank(text),
    imports=_lines(tokens[:count]),
    preamble=preamble,
    notes=notes,
  )


def blank(text: str) -> str:
  """The text with a space for every character but line breaks."""
  return re.sub(r"[^\n]", " ", text)


def _num_import_tokens(tokens: Sequence[Token]) -> int:
  """How many tokens the imports take, with the words that go with them."""
  texts = [token.text for token in tokens]
  end = 0
  while end < len(texts) and texts[end] in ("module", "prelude"):
    end += 1
  while True:
    start = end
    # `public section` begins the rest.
    while start < len(texts) and texts[start] in ("public", "meta"):
      start += 1
    if texts[start : start + 1] != ["import"]:
      return end
    end = start + (3 if texts[start + 1 : start + 2] == ["all"] else 2)
    if end > len(texts):
      raise ValueError("an import without a name")


def _lines(tokens: Sequence[Token]) -> str:
  """One import a line, whatever the spacing was."""
  lines, line = [], []
  for token in tokens:
    line.append(token.text)
    if token.text not in _INSIDE:
      lines.append(" ".join(line))
      line = []
  return "\n".join(lines)


def _limit(
  text: str, tokens: Sequence[Token], rules: SyntaxRules
) -> tuple[str, tuple[str, ...]]:
  """The text of the tokens with options under their ceilings, and notes."""
  if not tokens:
    return "", ()
  pieces: list[str] = []
  notes: list[str] = []
  start = tokens[0].start
  for word, name, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
    # `synthInstance.maxHeartbeats` has the same ceiling.
    ceiling = rules.ceilings.get(name.text.rpartition(".")[2])
    if word.text != "set_option" or ceiling is None or value.kind != "number":
      continue
    if 0 < _number(value.text) <= ceiling:
      continue
    pieces += text[start : value.start], str(ceiling)
    start = value.end
    notes.append(
      f"set_option {name.text} {value.text} in the header became {ceiling}"
    )
  pieces.append(text[start : tokens[-1].end])
  return "".join(pieces), tuple(notes)


def _number(text: str) -> int:
  digits = text.replace("_", "").lower()
  base = _BASES.get(digits[:2], 10)
  return int(digits[2:] if base != 10 else digits, base)
