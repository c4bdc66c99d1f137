"""Lean's messages by version, against real sessions, and reports of axioms."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.verification.acceptance import lean_messages
from kimina_jax.verification.acceptance.lean_messages import (
  COMPILER_AXIOMS,
  STANDARD_AXIOMS,
  read_axioms,
  trusted_axioms,
  untrusted_axioms,
)

TOPICS = (
  lean_messages.SORRY_WARNING,
  lean_messages.UNKNOWN_NAME,
  lean_messages.NO_AXIOMS,
  lean_messages.SOME_AXIOMS,
  lean_messages.COMPILER_AXIOM,
)


def version(text: str) -> tuple[int, ...]:
  return tuple(map(int, text.split(".")))


def test_rows_are_in_order_and_of_supported_versions():
  for topic in TOPICS:
    since = [r.since for r in lean_messages.TABLE if r.topic == topic]
    assert since == sorted(since, key=version)
    assert since[0] == "4.9" and version(since[-1]) <= (4, 33)
  assert {row.topic for row in lean_messages.TABLE} == set(TOPICS)
  assert all(
    re.compile(row.pattern) and row.reader for row in lean_messages.TABLE
  )


@pytest.mark.parametrize(
  ("topic", "text"),
  [
    (lean_messages.SORRY_WARNING, "declaration uses 'sorry'"),
    (lean_messages.SORRY_WARNING, "declaration uses `sorry`"),
    (lean_messages.UNKNOWN_NAME, "unknown identifier 'x'"),
    (lean_messages.UNKNOWN_NAME, "unknown constant 'x'"),
    (
      lean_messages.UNKNOWN_NAME,
      "Unknown identifier `x`\n\nNote: It is not possible …",
    ),
    (lean_messages.UNKNOWN_NAME, "Unknown constant `x`"),
    (lean_messages.NO_AXIOMS, "'A.t' does not depend on any axioms"),
    (lean_messages.SOME_AXIOMS, "'t' depends on axioms: [propext, sorryAx]"),
    (lean_messages.COMPILER_AXIOM, "Lean.ofReduceBool"),
    (lean_messages.COMPILER_AXIOM, "Lean.trustCompiler"),
    (lean_messages.COMPILER_AXIOM, "A.t._native.native_decide.ax_1_1"),
  ],
)
def test_wordings(topic, text):
  assert lean_messages.pattern_of(topic).search(text)
  for other in TOPICS:
    if other != topic:
      assert not lean_messages.pattern_of(other).search(text)


def test_real_sessions(data_dir):
  """Every sorry warning and unknown name of the transcripts is understood."""
  folder = data_dir / "repl-transcripts"
  texts = [path.read_text() for path in sorted(folder.glob("*.expected.out"))]
  assert len(texts) == 57
  messages = [
    message["data"]
    for text in texts
    for frame in re.split(r"\n\s*\n", text.strip())
    for message in json.loads(frame).get("messages", ())
  ]
  sorry = lean_messages.pattern_of(lean_messages.SORRY_WARNING)
  warned = [text for text in messages if sorry.search(text)]
  assert warned == [text for text in messages if "uses" in text.split()[1:2]]
  assert len(warned) == sum(text.count("declaration uses") for text in texts)
  unknown = lean_messages.pattern_of(lean_messages.UNKNOWN_NAME)
  found = [text for text in messages if unknown.search(text)]
  assert found == [t for t in messages if t.lower().startswith("unknown")]
  assert found


def test_replies_of_the_server(data_dir):
  """None of the genuine proofs seems to use sorry."""
  sorry = lean_messages.pattern_of(lean_messages.SORRY_WARNING)
  for path in sorted((data_dir / "kimina-server").glob("*.json")):
    assert not sorry.search(path.read_text())


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
  assert untrusted_axioms(axioms, plain) == refused
  assert untrusted_axioms(axioms, native) == refused_if_native
