"""Lean's tokens, against cases and against a simple reader of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.verification.lexer import LexError, normalise, tokenize


def texts(text: str) -> list[str]:
  return [token.text for token in tokenize(text)]


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("theorem t(x:ℕ):x=x:=by rfl", "theorem t ( x : ℕ ) : x = x := by rfl"),
    ("h₀.left.1 x' foo! bar?", "h₀.left . 1 x' foo! bar?"),
    ("∑ k in S, k^2", "∑ k in S , k ^ 2"),
    ("λx ¬p √2 Σsorry πx", "λ x ¬ p √ 2 Σ sorry πx"),
    ("a <;> b|>.c x₁⁻¹", "a <;> b |> . c x₁ ⁻ ¹"),
    ("0x1F 1.5e-3 2e5 10_000 0b12", "0x1F 1.5e-3 2e5 10_000 0b1 2"),
    ("«a b».«c».d «»", "«a b».«c».d «»"),
    ("f '' s ∪ 'a' '\\n' '\\x41' x'", "f '' s ∪ 'a' '\\n' '\\x41' x'"),
    ("a--b\nc", "a c"),
    ("a /- b /- c -/ d -/ e", "a e"),
    ("a /-- doc -/ b /-! mod -/ c", "a b c"),
    ("a /- -- -/ b", "a b"),
    ("-- /-\nb", "b"),
    ("@[simp] x.{u}", "@[ simp ] x . { u }"),
  ],
)
def test_tokens(text, expected):
  assert " ".join(texts(text)) == expected


@pytest.mark.parametrize(
  "literal",
  [
    '"a b"',
    '"-- no"',
    r'"\" /- \\"',
    'r"\\"',
    'r#"a" -- "#',
    '"a\n b"',
    '"{x}"',
  ],
)
def test_strings_are_one_token(literal):
  assert texts(f"x {literal} y") == ["x", literal, "y"]
  assert tokenize(literal)[0].kind == "string"


def test_comment_marks_in_strings_and_strings_in_comments():
  assert texts('"/-" x "-/"') == ['"/-"', "x", '"-/"']
  assert texts('/- " -/ x /- " -/') == ["x"]


def test_positions_are_lean_positions():
  tokens = tokenize("ab ℝ\n  «x y» /- 𝔽\n -/ 𝔽z\n∑")
  assert [(t.text, t.line, t.column) for t in tokens] == [
    ("ab", 1, 0),
    ("ℝ", 1, 3),
    ("«x y»", 2, 2),
    ("𝔽z", 3, 4),
    ("∑", 4, 0),
  ]


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("a /- b", "comment that does not end at 1:2"),
    ('a\n "b', "no token at 2:1"),
    ("«a\nb»", "no token at 1:0"),
    ("a //-b-/", "glued to '/' at 1:3"),
    ("a ⁻¹'\"'", "glued to '¹'"),
    ("/--/ a -/", "ambiguous comment"),
    ("a\u00a0b", "no token at 1:1"),
  ],
)
def test_refused_text(text, words):
  with pytest.raises(LexError, match=words):
    tokenize(text)


def test_normalise():
  assert normalise("a\r\nb ℝ 𝔽 é\n") == "a\nb ℝ 𝔽 é\n"
  for char in "\r\t\x00\x0b\x0c\x7f\x85\u2028\u2029\u200b\u202e\u2066\ufeff":
    with pytest.raises(LexError, match=rf"U\+{ord(char):04X} at 2:1"):
      normalise(f"a\nb{char}c")
  with pytest.raises(LexError):
    normalise("\ud800")


PIECES = st.sampled_from(
  ["--", "/-", "-/", '"', "\\", "'", "«", "»", "\n", " ", "r", "#", "sorry"]
  + ["x", "ℝ", "λ", "₁", ".", "1", "(", ")", ":=", "@[", "{", "}", "/", "-"]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_gaps_hold_nothing_but_space_and_comments(text):
  try:
    tokens = tokenize(text)
  except LexError:
    return
  position = 0
  for token in tokens:
    assert text[token.start : token.end] == token.text
    assert is_blank(text[position : token.start])
    line = text[: token.start].count("\n") + 1
    assert token.line == line
    assert text.split("\n")[line - 1][token.column :].startswith(
      token.text.split("\n")[0]
    )
    position = token.end
  assert is_blank(text[position:])


def is_blank(gap: str) -> bool:
  """Reads character by character whether only comments and space are there."""
  depth, index = 0, 0
  while index < len(gap):
    two = gap[index : index + 2]
    if two == "/-":
      depth += 1
      index += 2
    elif depth and two == "-/":
      depth -= 1
      index += 2
    elif depth or gap[index] in " \n":
      index += 1
    elif two == "--":
      index = (gap + "\n").index("\n", index)
    else:
      return False
  return depth == 0
