"""Roles of single tokens."""

import pytest

from kimina_jax.verification.acceptance.vocabulary import (
  TokenRole,
  TokenRoles,
  role_of,
)


@pytest.mark.parametrize(
  ("token", "role"),
  [
    *(
      ("(", TokenRole.OPENING),
      ("⟩", TokenRole.CLOSING),
      ("@[", TokenRole.ATTRIBUTES),
    ),
    *(("theorem", TokenRole.COMMAND), ("set_option", TokenRole.OPTION)),
    *(
      ("\n", TokenRole.LINE),
      ("\n\n", TokenRole.LINE),
      ("eval", TokenRole.EVAL),
    ),
    *(("x", None), ("h.prefix", None), ("Polynomial.eval", None)),
    *(("1", None), ("'a'", None), ('"sorry"', None), ("+", None)),
    *(("sorry_free", None), ("sorry", "sorry"), ("«sorry»", "sorry")),
    *(("αsorry", "sorry"), ("h.sorry", None), ("sorry.x", "sorry")),
    *(("a_sorry", TokenRole.SUSPECT), ("hlocal", TokenRole.SUSPECT)),
    *(("native_decide", TokenRole.NATIVE), ("«native»", TokenRole.NATIVE)),
    *(("config", TokenRole.SETTINGS), ("simp_config", TokenRole.SETTINGS)),
    *(("«config»", TokenRole.SETTINGS), ("reconfig", None)),
    *(("oracle", TokenRole.PROGRAM), ("a.«oracle»", TokenRole.PROGRAM)),
    *(
      ("x.toReal", TokenRole.PROGRAM),
      ("total", None),
      ("«toX»", TokenRole.PROGRAM),
    ),
  ],
)
def test_roles(token, role):
  assert role_of(token) == role


@pytest.mark.parametrize(
  "token",
  [
    *("admit", "run_tac", "axiom", "variable?", "register_try?_tactic", "stop"),
    *("by_elab", "idbg", "polyrith", "unlock_limits", "with_weak_namespace"),
    *(
      "apply?",
      "a.sorryAx",
      "«sorryAx»",
      "_root_.sorryAx",
      "Lean.ofReduceBool",
    ),
    *("IO.println", "«IO».FS", "unsafeIO", "ptrAddrUnsafe", "lcProof", "Lean"),
    *("__ok_1", "A.__stmt_x", "#", "#'", "`", '"{x}"', 'r"{"'),
  ],
)
def test_words_that_are_refused(token):
  """Their role is a broken rule, not a TokenRole."""
  roles = {value for name, value in vars(TokenRole).items() if name.isupper()}
  assert role_of(token) not in roles | {None}


def test_memory_is_bounded():
  roles = TokenRoles()
  assert roles["x" * 65] is None and not roles
  for number in range(70_000):
    assert roles[f"x{number}"] is None
  assert len(roles) < 65_537
  assert roles["sorry"] == "sorry" and dict.__getitem__(roles, "sorry")
