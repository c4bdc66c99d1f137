"""Lean's words, against what real sessions of it hold."""

import json
import re

import pytest

from kimina_jax.verification.acceptance import lean_messages

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
  assert lean_messages.pattern(topic).search(text)
  for other in TOPICS:
    if other != topic:
      assert not lean_messages.pattern(other).search(text)


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
  sorry = lean_messages.pattern(lean_messages.SORRY_WARNING)
  warned = [text for text in messages if sorry.search(text)]
  assert warned == [text for text in messages if "uses" in text.split()[1:2]]
  assert len(warned) == sum(text.count("declaration uses") for text in texts)
  unknown = lean_messages.pattern(lean_messages.UNKNOWN_NAME)
  found = [text for text in messages if unknown.search(text)]
  assert found == [t for t in messages if t.lower().startswith("unknown")]
  assert found


def test_replies_of_the_server(data_dir):
  """None of the genuine proofs seems to use sorry."""
  sorry = lean_messages.pattern(lean_messages.SORRY_WARNING)
  for path in sorted((data_dir / "kimina-server").glob("*.json")):
    assert not sorry.search(path.read_text())
