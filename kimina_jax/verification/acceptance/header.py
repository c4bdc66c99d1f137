"""Header: parses the trusted Lean text before a statement.

In: the header of a problem. Out: its imports, which a worker loads once, and
the preamble: the rest (options, opened namespaces and so on), which is
elaborated on top of them. Options that would let Lean run without end are
lowered to their ceilings, with a note; nothing else is changed, and no option
is added.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

from kimina_jax.verification.acceptance.lexer import Token, normalise, tokenize
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules

_MAX_CACHED = 4096
_BASES = {"0x": 16, "0b": 2, "0o": 8}
# Tokens that do not end an import.
_WITHIN_IMPORT = frozenset(("public", "meta", "import", "all"))


@dataclasses.dataclass(frozen=True)
class Header:
  r"""The header of a problem.

  Example:
    Header(text="import Mathlib\n\nset_option maxHeartbeats 0\n\n",
           tokens=("import", "Mathlib", "set_option", "maxHeartbeats", "0"),
           blanked_text="              \n\n                          \n\n",
           imports="import Mathlib",
           preamble="set_option maxHeartbeats 400000",
           notes=("set_option maxHeartbeats 0 in the header became 400000",))

  Attributes:
    text: normalised; the beginning of a final block.
    tokens: of the text; the white space of a final block may differ.
    blanked_text: the text with spaces for all characters but line breaks.
    imports: one import a line, without comments, so that headers with equal
      imports have equal values; "" if there are none.
    preamble: the rest up to its last token; "" if there is none.
    notes: changes of options.
  """

  text: str
  tokens: tuple[str, ...]
  blanked_text: str
  imports: str
  preamble: str
  notes: tuple[str, ...]


@functools.lru_cache(maxsize=_MAX_CACHED)
def parse_header(text: str, rules: SyntaxRules) -> Header:
  """Parses a header.

  Raises:
    ValueError: it is not Lean.
  """
  text = normalise(text)
  tokens = tokenize(text)
  count = _num_import_tokens(tokens)
  preamble, notes = _limit(text, tokens[count:], rules)
  return Header(
    text=text,
    tokens=tuple(token.text for token in tokens),
    blanked_text=blank_out(text),
    imports=_lines(tokens[:count]),
    preamble=preamble,
    notes=notes,
  )


def blank_out(text: str) -> str:
  """The text with a space for every character but line breaks."""
  return re.sub(r"[^\n]", " ", text)


def _num_import_tokens(tokens: Sequence[Token]) -> int:
  """The number of tokens of the imports, modifiers included."""
  texts = [token.text for token in tokens]
  end = 0
  while end < len(texts) and texts[end] in ("module", "prelude"):
    end += 1
  while True:
    start = end
    # `public section` is not an import, it begins the preamble.
    while start < len(texts) and texts[start] in ("public", "meta"):
      start += 1
    if texts[start : start + 1] != ["import"]:
      return end
    end = start + (3 if texts[start + 1 : start + 2] == ["all"] else 2)
    if end > len(texts):
      raise ValueError("an import without a name")


def _lines(tokens: Sequence[Token]) -> str:
  """The imports, one a line, whatever their white space was."""
  lines, line = [], []
  for token in tokens:
    line.append(token.text)
    if token.text not in _WITHIN_IMPORT:
      lines.append(" ".join(line))
      line = []
  return "\n".join(lines)


def _limit(
  text: str, tokens: Sequence[Token], rules: SyntaxRules
) -> tuple[str, tuple[str, ...]]:
  """The text of the tokens with options lowered to ceilings, and notes."""
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
