"""Expected statements: parsing, and whether a proof states them."""

import dataclasses

import pytest

from kimina_jax.types import Status
from kimina_jax.verification.acceptance import syntax_rules
from kimina_jax.verification.acceptance.expected_statement import (
  check_statement,
  parse_statement,
)
from kimina_jax.verification.acceptance.lexer import scan
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules

RULES = SyntaxRules(max_heartbeats=400_000, native_decide=False)
STATEMENT = "theorem t (n : ℕ) (h : 1 < n) : Real.sqrt n + 1 ≤ n := by"
EXPECTED = parse_statement(STATEMENT, RULES)


@pytest.mark.parametrize(
  ("statement", "name", "proposition"),
  [
    ("theorem t : 1 = 1 := by", "t", "1 = 1\n"),
    ("lemma t.u : ∀ x : ℕ, x = x := by\n", "t.u", "∀ x : ℕ, x = x\n"),
    (
      "theorem t (x : ℕ) {y z} [Inst x] ⦃w : ℕ⦄ -- why\n  (h : x = (2 : ℕ)) :\n"
      "  x = y -- so\n  := by",
      "t",
      "∀ (x : ℕ) {y z} [Inst x] ⦃w : ℕ⦄ -- why\n  (h : x = (2 : ℕ))\n"
      ", x = y -- so\n",
    ),
    (
      "theorem t (S : Finset ℕ) (h : ∀ n, n ∈ S ↔ n < 3) : S.card = 3 := by",
      "t",
      "∀ (S : Finset ℕ) (h : ∀ n, n ∈ S ↔ n < 3)\n, S.card = 3\n",
    ),
    ("theorem t /- none -/ : p := by", "t", "p\n"),
    ("/-- why -/ theorem «a b» x : p := by", "«a b»", "∀ x\n, p\n"),
    ("theorem t : let x := 1; x = 1 := by", "t", "let x := 1; x = 1\n"),
  ],
)
def test_proposition(statement, name, proposition):
  expected = parse_statement(statement, RULES)
  assert (expected.name, expected.proposition) == (name, proposition)


@pytest.mark.parametrize(
  ("statement", "words"),
  [
    ("theorem t : 1 = 1 := sorry", "does not end in `:= by`"),
    ("example : 1 = 1 := by", "does not start with `theorem`"),
    ("@[simp] theorem t : 1 = 1 := by", "does not start with `theorem`"),
    ("theorem := by", "does not start with `theorem`"),
    ("theorem t (x : ℕ) := by", "no colon"),
    ("theorem t.{u} : p := by", "unexpected '.'"),
    ("theorem t : := by", "states nothing"),
    ("theorem t : /- x -/ := by", "states nothing"),
    ("theorem t : 1 = 1 /- := by", "comment that does not end"),
    ("theorem", "does not end in `:= by`"),
    (":= by", "does not start with `theorem`"),
    ("", "does not end in `:= by`"),
    ("theorem t : f = sorry := by", "sorry: 'sorry' at 1:16"),
    ("theorem t : #s = 1 := by", "command not allowed: '#' at 1:12"),
    ("theorem t (x : ℕ : p := by", "no colon"),
    ("theorem t : (p := by", "bracket that does not close"),
    ("theorem t : p \u202e := by", "U\\+202E"),
  ],
)
def test_bad_statement(statement, words):
  with pytest.raises(ValueError, match=words):
    parse_statement(statement, RULES)


def test_used_names_are_those_that_are_not_bound():
  assert EXPECTED.names == {"ℕ", "Real", "sqrt"}
  expected = parse_statement(
    "theorem t (f g : A → B.C) : f x = D.e := by", RULES
  )
  assert expected.names == {"A", "B", "C", "x", "D", "e"}


def fault(body: str) -> tuple[Status, str] | None:
  proof = scan(body)
  found = check_statement(
    EXPECTED, proof, syntax_rules.check_syntax(proof, RULES)
  )
  return None if found is None else (found[0], str(found[1]))


@pytest.mark.parametrize(
  "body",
  [
    f"{STATEMENT}\n  x",
    "\n\n-- c\n" + STATEMENT.replace(" (h", " -- x\n(h").replace("+", " + "),
    f"lemma h : p := x\n{STATEMENT} x\nlemma n : p := x",
    f"open A in\n{STATEMENT} x",
    f"namespace B\ndef a := 1\nend B\n{STATEMENT} x",
    f"noncomputable def a := 1\nexample : p := x\n{STATEMENT} x",
  ],
)
def test_stated(body):
  assert fault(body) is None


MISMATCH, MISSING = Status.STATEMENT_MISMATCH, Status.MISSING_THEOREM


@pytest.mark.parametrize(
  ("body", "status", "words"),
  [
    ("lemma a : p := x", MISSING, "no theorem t: 'lemma' at 1:0"),
    ("\n-- c\n  lemma a : p := x", MISSING, "no theorem t: 'lemma' at 3:2"),
    (
      STATEMENT.replace("≤", "<") + " x",
      MISMATCH,
      "theorem t states something else: '<' at 1:48",
    ),
    (
      STATEMENT.replace("theorem", "lemma") + " x",
      MISMATCH,
      "theorem t states something else: 'lemma' at 1:0",
    ),
    (STATEMENT[:-3], MISMATCH, "theorem t states something else: ':=' at 1:52"),
    ("def t := 1", MISMATCH, "states something else: 'def' at 1:0"),
    (f"section\n{STATEMENT} x\nend", MISMATCH, "inside a namespace"),
    (f"namespace A\n{STATEMENT} x\nend A", MISMATCH, "inside a namespace"),
    (f"{STATEMENT} x\n{STATEMENT} x", MISMATCH, "stands twice: 'theorem' at 2"),
    (f"{STATEMENT} x\nlemma t : p := x", MISMATCH, "something else: 'lemma'"),
    (f"theorem «t» : p := x\n{STATEMENT} x", MISMATCH, "something else: '«t»'"),
    (f"def _root_.t := 1\n{STATEMENT} x", MISMATCH, "something else: 'def'"),
    (
      f"def sqrt := 1\n{STATEMENT} x",
      MISMATCH,
      "sqrt redefines a name of the statement: 'sqrt' at 1:4",
    ),
    (f"abbrev ℕ := A\n{STATEMENT} x", MISMATCH, "ℕ redefines"),
    (f"def Real.«sqrt» := 1\n{STATEMENT} x", MISMATCH, "redefines"),
    (f"structure A.Real\n{STATEMENT} x", MISMATCH, "redefines"),
  ],
)
def test_not_stated(body, status, words):
  found = fault(body)
  assert found[0] is status
  assert words in found[1]


def test_statement_is_not_searched_again_and_again():
  """Long prefixes of the statement are compared in linear time."""
  long = parse_statement(f"theorem t : {'x + ' * 2000}1 = 0 := by", RULES)
  body = scan(" ".join(["theorem t : x"] * 20_000))
  commands = syntax_rules.check_syntax(body, RULES)
  status, refusal = check_statement(long, body, commands)
  assert status is MISMATCH and refusal.text == "theorem"
  # A LINE in the midst of a statement is no difference.
  lines = scan("\n".join(long.tokens) + " x")
  assert (
    check_statement(long, lines, [syntax_rules.CommandStart("theorem", 0, 0)])
    is None
  )
  other = dataclasses.replace(long, name="u")
  status, _ = check_statement(
    other, lines, [syntax_rules.CommandStart("theorem", 0, 0)]
  )
  assert status is MISSING
