"""Theorems in Lean source, located by their tokens.

In: the tokens of a text (lexer.tokenize). Out: where its last theorem begins,
and the nesting of brackets. Lean is not run, and nothing is accepted or refused
here.
"""

from collections.abc import Sequence

from kimina_jax.verification.acceptance.lexer import Token

# The keywords that state something to be proved.
THEOREM_KEYWORDS = ("theorem", "lemma", "example")
# The name that an `example` is given: an audit needs one.
UNNAMED_EXAMPLE = "unnamed_example"

_OPENING, _CLOSING = "([{⟨⦃", ")]}⟩⦄"


def find_last_theorem(tokens: Sequence[Token]) -> int | None:
  """Index of the keyword of the last theorem, lemma or example."""
  for index in reversed(range(len(tokens))):
    if tokens[index].text in THEOREM_KEYWORDS:
      return index
  return None


def theorem_name(tokens: Sequence[Token], index: int) -> str:
  """The name of the theorem whose keyword has this index; "" if it has none.

  An example is called UNNAMED_EXAMPLE.
  """
  if tokens[index].text == "example":
    return UNNAMED_EXAMPLE
  if index + 1 == len(tokens) or tokens[index + 1].kind != "name":
    return ""
  return tokens[index + 1].text


def nesting_change(token: Token) -> int:
  """1 if the token opens a bracket, −1 if it closes one, else 0.

  A symbol such as `#[` opens one by its last character.
  """
  if token.kind != "symbol":
    return 0
  return (token.text[-1] in _OPENING) - (token.text in _CLOSING)
