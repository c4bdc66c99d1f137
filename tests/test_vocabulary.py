"""Roles of single tokens."""

import pytest

from kimina_jax.verification.acceptance.vocabulary import Role, Roles, role_of


@pytest.mark.parametrize(
  ("token", "role"),
  [
    *(("(", Role.OPENING), ("⟩", Role.CLOSING), ("@[", Role.ATTRIBUTES)),
    *(("theorem", Role.COMMAND), ("set_option", Role.OPTION)),
    *(("\n", Role.LINE), ("\n\n", Role.LINE), ("eval", Role.EVAL)),
    *(("x", None), ("h.prefix", None), ("Polynomial.eval", None)),
    *(("1", None), ("'a'", None), ('"sorry"', None), ("+", None)),
    *(("sorry_free", None), ("sorry", "sorry"), ("«sorry»", "sorry")),
    *(("αsorry", "sorry"), ("h.sorry", None), ("sorry.x", "sorry")),
    *(("a_sorry", Role.SUSPECT), ("hlocal", Role.SUSPECT)),
    *(("native_decide", Role.NATIVE), ("«native»", Role.NATIVE)),
    *(("config", Role.SETTINGS), ("simp_config", Role.SETTINGS)),
    *(("«config»", Role.SETTINGS), ("reconfig", None)),
    *(("oracle", Role.PROGRAM), ("a.«oracle»", Role.PROGRAM)),
    *(("x.toReal", Role.PROGRAM), ("total", None), ("«toX»", Role.PROGRAM)),
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
  """Whatever they mean, they are a rule and no Role."""
  roles = {value for name, value in vars(Role).items() if name.isupper()}
  assert role_of(token) not in roles | {None}


def test_memory_is_bounded():
  roles = Roles()
  assert roles["x" * 65] is None and not roles
  for number in range(70_000):
    assert roles[f"x{number}"] is None
  assert len(roles) < 65_537
  assert roles["sorry"] == "sorry" and dict.__getitem__(roles, "sorry")
