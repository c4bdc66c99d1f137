"""Attributes, options and the settings of tactics."""

import pytest

from kimina_jax.verification.acceptance import arguments
from kimina_jax.verification.acceptance.lexer import scan


def faults(check, text: str, *rest) -> list[tuple[str, str]]:
  """The faulty tokens after the first, and the rules."""
  tokens = scan(text).tokens
  return [(tokens[i], rule) for i, rule in check(tokens, 0, *rest)]


@pytest.mark.parametrize(
  ("text", "bad"),
  [
    *(
      ("@[simp]", None),
      ("@[simp, reducible]", None),
      ("@[simp,\nsimp]", None),
    ),
    *(("@[ext]", "ext"), ("@[simp, ext, y]", "ext"), ("@[simp 1]", "1")),
    *(("@[-simp]", "-"), ("@[local simp]", "local"), ("@[simp", None)),
  ],
)
def test_attributes(text, bad):
  expected = [(bad, "attribute not allowed")] if bad else []
  assert faults(arguments.check_attributes, text) == expected


CEILINGS = {"maxHeartbeats": 400_000, "maxRecDepth": 100}


@pytest.mark.parametrize(
  ("text", "bad"),
  [
    *(("maxHeartbeats 400000", None), ("maxHeartbeats 1 in", None)),
    *(("maxHeartbeats\n400000", None), ("maxRecDepth 007", None)),
    *(("maxHeartbeats 0", "0"), ("maxHeartbeats 400001", "400001")),
    *(("maxHeartbeats 00", "00"), ("maxHeartbeats 1_0", "1_0")),
    *(("maxHeartbeats 0x10", "0x10"), ("maxHeartbeats 1.5", "1.5")),
    *(("maxHeartbeats -1", "-"), ("maxHeartbeats ٣", "٣")),
    *(("maxHeartbeats", "maxHeartbeats"), ("", "set_option")),
    *(("maxRecDepth 101", "101"), ("pp.all true", "pp.all")),
    *(("Foo.maxHeartbeats 1", "Foo.maxHeartbeats"),),
    (f"maxHeartbeats {'1' * 5000}", "1" * 5000),
  ],
)
def test_option(text, bad):
  found = faults(arguments.check_option, f"set_option {text}", CEILINGS)
  assert [token for token, _ in found] == ([bad] if bad else [])


@pytest.mark.parametrize(
  ("text", "bad"),
  [
    *(("", None), ("x", None), (":= {}", None), (":= {a := true})", None)),
    (":= { a := 1, b := false, c := .x, d := .pos [1, 2] } more", None),
    (":=\n{\na\n:=\n1\n}", None),
    *((":= cfg", "cfg"), (":= .cfg", "."), (":= (x)", "("), (":=", "config")),
    *((":= { x with a := 1 }", "with"), (":= { a := x }", "x")),
    *((":= { a := 1 + 2 }", "+"), (":= { a := do x }", "do")),
    *((":= { a := .x y }", "y"), (":= { a := .x (y) }", "(")),
    *((":= { a := { b := 1 } }", "{"), (":= { toA := .x }", "toA")),
    *((":= { a := .x [y] }", "y"), (":= { a := 1, }", "}")),
    *((":= { a }", "}"), (":= { a := by }", "by"), (":= { a := 1", "config")),
    (':= { a := "x" }', '"x"'),
  ],
)
def test_settings(text, bad):
  found = faults(arguments.check_config, f"config {text}")
  assert [token for token, _ in found] == ([bad] if bad else [])


@pytest.mark.parametrize(
  ("text", "is_refused"),
  [
    *(("oracle := x", True), ("oracle\n:= x", True), ("oracle x", False)),
    *(("«oracle» := x", True), ("a.oracle := x", True), ("oracle", False)),
  ],
)
def test_program(text, is_refused):
  assert bool(faults(arguments.check_program_setting, text)) == is_refused


def test_a_parent_is_set_as_a_field_only():
  for text, is_refused in (
    ("{ toFun := x }", False),
    ("linarith (toFoo := x)", True),
    ("linarith (\ntoFoo := x)", True),
    ("linarith (a.toFoo := x)", True),
    ("(toFoo x)", False),
    ("{ «toFun» := x }", True),
  ):
    tokens = scan(text).tokens
    index = next(i for i, token in enumerate(tokens) if "toF" in token)
    assert (
      bool(list(arguments.check_program_setting(tokens, index))) == is_refused
    )


def brackets(tokens: list[str]) -> dict[int, int]:
  """Matching round brackets, found by counting."""
  found = {}
  for start, token in enumerate(tokens):
    depth = 0
    for end in range(start, len(tokens)):
      depth += (tokens[end] == "(") - (tokens[end] == ")")
      if token == "(" and depth == 0:
        found[start] = end
        break
  return found


@pytest.mark.parametrize(
  ("text", "bad"),
  [
    *(("", None), ("[x] (a := y)", None), ("at h", None), ("(", None)),
    *(("(a := 1)", None), ("(a := true) (b := .x) [y]", None), ("+a -b", None)),
    *(
      ("(a := .pos [1, 2])", None),
      ("(x + y)", None),
      ("(foo (a := y))", None),
    ),
    *(("(disch := tac) [y]", None), ("(config := whatever)", None)),
    *(("(a := x)", "x"), ("(a := (x))", "("), ("(a := 1 + 2)", "+")),
    *(("(a := f 1)", "f"), ("(a :=)", ":="), ("(a := .x y)", "y")),
    *(("+b (a := x)", "x"), ("(b := 1) (a := x)", "x"), ("-b\n(a\n:= x)", "x")),
    *(("(disch := t (u)) (a := x)", "x"), ("(config := {}) (a := x)", "x")),
    *(("(a := {})", "{"), ("(a := 1, 2)", "2"), ("(a := 1,)", ":=")),
  ],
)
def test_items(text, bad):
  tokens = scan(f"simp {text}").tokens
  found = list(arguments.check_tactic_settings(tokens, 0, brackets(tokens)))
  assert [tokens[i] for i, _ in found] == ([bad] if bad else [])
