"""Reports of axioms, read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.verification.acceptance.lean_messages import (
  COMPILER_AXIOMS,
  STANDARD_AXIOMS,
  read_axioms,
  trusted_axioms,
  untrusted,
)

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_'.]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
  ("line", "axioms"),
  [
    ("'__ok_1' does not depend on any axioms", ()),
    ("'A.b.__ok_1' does not depend on any axioms\n", ()),
    ("'__ok_1' depends on axioms: [propext]", ("propext",)),
    (
      "'__ok_1' depends on axioms: [propext,\n Classical.choice,\n Quot.sound]",
      ("propext", "Classical.choice", "Quot.sound"),
    ),
    (
      "'A.__ok_1' depends on axioms:\n  [_private.A.0.b, «c».d]\n",
      ("_private.A.0.b", "«c».d"),
    ),
  ],
)
def test_reports(line, axioms):
  assert read_axioms("__ok_1", line) == axioms


@pytest.mark.parametrize(
  "line",
  [
    "",
    "'__ok_1' does not depend on any axioms x",
    "x '__ok_1' does not depend on any axioms",
    "'__ok_2' does not depend on any axioms",
    "'__ok_1.b' does not depend on any axioms",
    "'a__ok_1' does not depend on any axioms",
    "'__ok_1' depends on axioms: []",
    "'__ok_1' depends on axioms: [propext",
    "'__ok_1' depends on axioms: [propext,]",
    "'__ok_1' depends on axioms: [propext easy]",
    "'__ok_1' depends on axioms: [propext] [sorryAx]",
    "'__ok_1' depends on axioms: [[propext]]",
    "'__ok_1' does not depend on any axioms\n'__ok_1' depends on axioms: [x]",
    "'__ok_1' relies on axioms: [propext]",
  ],
)
def test_anything_else_is_an_error(line):
  with pytest.raises(ValueError, match="not a"):
    read_axioms("__ok_1", line)


@given(st.lists(NAMES, min_size=1, max_size=9), st.sampled_from([", ", ",\n "]))
def test_lists(names, separator):
  line = f"'__ok_1' depends on axioms: [{separator.join(names)}]"
  assert read_axioms("__ok_1", line) == tuple(names)


NATIVE = "A.t._native.native_decide.ax_1_1"


@pytest.mark.parametrize(
  ("axioms", "refused", "refused_if_native"),
  [
    (tuple(STANDARD_AXIOMS), (), ()),
    (("sorryAx",), ("sorryAx",), ("sorryAx",)),
    (("propext", "x"), ("x",), ("x",)),
    (tuple(sorted(COMPILER_AXIOMS)), tuple(sorted(COMPILER_AXIOMS)), ()),
    ((NATIVE, "t._native.native_decide.ax_2"),) * 2 + ((),),
    (("t._native.bv_decide.ax_1",),) * 3,
    (("t._native.native_decide.ax_x",),) * 3,
    (("t._native.native_decide.ax_1.y",),) * 3,
    (("Lean.ofReduceNat",),) * 3,
  ],
)
def test_trust(axioms, refused, refused_if_native):
  plain = trusted_axioms(native_decide=False)
  native = trusted_axioms(native_decide=True)
  assert untrusted(axioms, plain) == refused
  assert untrusted(axioms, native) == refused_if_native
