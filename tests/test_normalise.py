"""The one form of a text, against Unicode's own tables."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.verification.acceptance.lexer import (
  MAX_CHARS,
  LexError,
  Refusal,
  normalise,
  refuse,
)


def test_line_breaks():
  assert normalise("a\r\nb ℝ 𝔽 é\n\r\n") == "a\nb ℝ 𝔽 é\n\n"


@pytest.mark.parametrize(
  "char", "\r\t\x00\x0b\x0c\x7f\x85\u2028\u2029\u200b\u202e\u2066\ufeff\ud800"
)
def test_forbidden_character(char):
  with pytest.raises(LexError) as caught:
    normalise(f"a\nb{char}c")
  rule = f"forbidden character U+{ord(char):04X}"
  assert caught.value.refusal == Refusal(rule, char, 2, 1, 2, 2)
  assert str(caught.value) == f"{rule}: {char!r} at 2:1"


def test_unusual_spaces_are_left_to_the_lexer():
  assert normalise("-- a\u00a0b\u3000c\u2003") == "-- a\u00a0b\u3000c\u2003"


def test_length():
  assert normalise("x" * MAX_CHARS)
  with pytest.raises(LexError, match="longer than 262144 characters"):
    normalise("x" * (MAX_CHARS + 1))


@given(st.text())
def test_every_text_is_judged(text):
  """What is passed holds no character that Unicode calls a control."""
  text = text.replace("\r\n", "\n")
  forbidden = [
    (text[:i].count("\n") + 1, char)
    for i, char in enumerate(text)
    if char != "\n"
    and unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
  ]
  if not forbidden:
    assert normalise(text) == text
    return
  with pytest.raises(LexError) as caught:
    normalise(text)
  refusal = caught.value.refusal
  assert (refusal.line, refusal.text) == forbidden[0]


@given(st.text("ab\nℝ𝔽"), st.data())
def test_places(text, data):
  start = data.draw(st.integers(0, len(text)))
  end = data.draw(st.integers(start, len(text)))
  found = refuse("r", text, start, end)
  lines = text.split("\n")
  # From a line and a column back to the offset.
  offset = sum(len(line) + 1 for line in lines[: found.line - 1])
  assert offset + found.column == start
  offset = sum(len(line) + 1 for line in lines[: found.end_line - 1])
  assert offset + found.end_column == end
  assert found.text == text[start:end][:80]
