"""The lexer and normalised text, against a simple reader and Unicode tables."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.verification.acceptance.lexer import (
  MAX_CHARS,
  LexError,
  Refusal,
  is_line_break,
  kind_of,
  make_refusal,
  normalise,
  scan,
  tokenize,
  without_line_breaks,
)


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
    ("f ⁻¹' s ∑' n, x", "f ⁻ ¹' s ∑' n , x"),
    ("a--b\nc", "a c"),
    ("a /- b /- c -/ d -/ e", "a e"),
    ("a /-- doc -/ b /-! mod -/ c", "a b c"),
    ("a /---/ b /-!-/ c", "a b c"),
    ("a /- -- -/ b", "a b"),
    ("a /- /-/- x -/ -/ - / -/ b", "a b"),
    ("-- /-\nb", "b"),
    ("@[simp] x.{u}", "@[ simp ] x . { u }"),
    ("a\n\n  -- c\n\nb  ", "a b"),
    ("", ""),
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
    'r##"a"# b"##',
    '"a\n b"',
    '"a \\\n  b"',
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
  ("token", "kind"),
  [
    *(("x", "name"), ("«a b».c", "name"), ("r", "name"), ("αβ", "name")),
    *(("0x1F", "number"), ("1.5", "number")),
    *(('"a"', "string"), ('r"a"', "string"), ('r#"a"#', "string")),
    *(("'a'", "char"), ("'\\n'", "char")),
    *(("''", "symbol"), ("¹'", "symbol"), (":=", "symbol"), ("λ", "symbol")),
  ],
)
def test_kinds(token, kind):
  assert kind_of(token) == kind
  assert [t.kind for t in tokenize(f"x {token}")] == ["name", kind]


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("a /- b", "comment that does not end.* at 1:2"),
    ("/- " * 5 + "-/ " * 5, "over 4 deep: '/-' at 1:0"),
    ('a\n "b', "string that does not end: '\"' at 2:1"),
    ("«a\nb»", "no token: '«' at 1:0"),
    ("a » b", "no token: '»' at 1:2"),
    ("a //-b-/", "glued to '/': '/-' at 1:3"),
    ("a |-- b", "glued to '|': '--' at 1:3"),
    ("a ⁻¹'\"'", "literal glued to '¹'"),
    ("a ⁻¹'\n'", "literal glued to '¹'"),
    ("def c := '\n'", 'no token: "\'" at 1:9'),
    ("f⁻¹''\"'", "literal glued to"),
    ("f ''a'", 'no token: "\'" at 1:2'),
    ('s!"a"', "string glued to '!'"),
    ('"a""b"', "string glued to"),
    ('⁻¹r"\\"', "string glued to 'r'"),
    ('r####"a"####', "string glued to '#'"),
    ("/--/ a -/", "ambiguous comment"),
    ("/-!/ a -/", "ambiguous comment"),
    # Lean skips the character after `/-` unread.
    ("/-/-/ a\n-- -/ -/", "ambiguous comment"),
    # Lean skips comments after `/--` before its text begins.
    ("/-- -- -/\na -/", "ambiguous comment"),
    ("/--\n /-/-/ -/ a -- -/ -/", "ambiguous comment"),
    ("/---- a -/", "ambiguous comment"),
    ("a\u00a0b", "no token: '\\\\xa0' at 1:1"),
    ("a\tb", "no token"),
  ],
)
def test_refused_text(text, words):
  with pytest.raises(LexError, match=words):
    tokenize(text)


def test_lines_are_marked():
  """A mark stands before each token that begins a line, and nowhere else."""
  text = "a\nb\n  c\n/- d\n-/ e\n-- f\ng h\n\n\n(i)\n"
  found = scan(text).tokens
  begin = [
    found[i + 1] for i, token in enumerate(found) if is_line_break(token)
  ]
  assert begin == ["b", "g", "("]
  assert without_line_breaks(found) == texts(text)


PIECES = st.sampled_from(
  ["--", "/-", "-/", '"', "\\", "'", "«", "»", "\n", " ", "r", "#", "sorry"]
  + ["x", "ℝ", "λ", "₁", ".", "1", "(", ")", ":=", "@[", "{", "}", "/", "-"]
  + ["'a'", '"b"', "/- c -/", "-- d\n", "''", "!", "\u00a0", "\t", "⁻¹", "₀"]
)
TEXTS = st.one_of(
  st.lists(PIECES, max_size=30).map("".join), st.text(max_size=30)
)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
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


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_fast_and_slow_reading_agree(text):
  """Texts, offsets and marks of a scan are those of the tokens."""
  try:
    tokens = tokenize(text)
  except LexError as error:
    with pytest.raises(LexError, match="at") as caught:
      scan(text)
    assert caught.value.refusal == error.refusal
    return
  found = scan(text)
  assert without_line_breaks(found.tokens) == [token.text for token in tokens]
  real = [i for i, t in enumerate(found.tokens) if not is_line_break(t)]
  assert found.offsets(real) == [token.start for token in tokens]
  marked = [found.tokens[i - 1][0] == "\n" for i in real if i]
  later = tokens[len(tokens) - len(marked) :]
  # The first token needs no mark; a comment before a token takes its mark.
  for is_marked, token in zip(marked, later, strict=True):
    assert is_marked == (token.column == 0 and token.start > 0)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.data())
def test_reading_may_begin_at_any_token(text, data):
  try:
    tokens = tokenize(text)
  except LexError:
    return
  index = data.draw(st.integers(0, len(tokens)))
  start = [*(t.start for t in tokens), len(text)][index]
  rest = [token.text for token in tokens[index:]]
  assert without_line_breaks(scan(text, start).tokens) == rest


@pytest.mark.parametrize(
  "piece",
  [
    *("/- ", "/- /- -/ ", "/- /- /- /- -/ ", 'r#" ', '"\\" ', "«a", "' ", "''"),
    *(" ", "\n ", "a.", "∑'", "-", "(/- x -/)", "--x\n", "é", '"'),
  ],
)
def test_reading_takes_linear_time(piece):
  """A hundred thousand characters take no more than twenty times 10,000."""

  def seconds(count: int) -> float:
    text = piece * (count // len(piece))
    best = 1e9
    for _ in range(3):
      began = time.process_time()
      try:
        scan(text)
      except LexError:
        pass
      best = min(best, time.process_time() - began)
    return best

  assert seconds(100_000) < 20 * max(seconds(10_000), 0.001)


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
  """Accepted text has no control character of Unicode."""
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
  found = make_refusal("r", text, start, end)
  lines = text.split("\n")
  # From a line and a column back to the offset.
  offset = sum(len(line) + 1 for line in lines[: found.line - 1])
  assert offset + found.column == start
  offset = sum(len(line) + 1 for line in lines[: found.end_line - 1])
  assert offset + found.end_column == end
  assert found.text == text[start:end][:80]
