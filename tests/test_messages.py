"""Printing of Lean messages, Lean source and verdicts on a terminal."""

import io

import pytest
from rich.console import Console

from kimina_jax.types import Message, Status, Verdict
from kimina_jax.verification.messages import (
  highlight_lean,
  print_messages,
  printable,
  source_excerpt,
  verdict_remarks,
)

STATEMENT = "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by"
CODE = f"import Mathlib\n\n{STATEMENT}\n  omega\n"


@pytest.mark.parametrize(
  ("place", "expected"),
  [
    ((2, 2, 2, 5), "  foo x\n  ^^^"),
    ((2, 2, 0, 0), "  foo x\n  ^"),
    ((2, 6, 3, 4), "  foo x\n      ^"),
    ((2, 2, 3, 4), "  foo x\n  ^^^^^"),
    ((2, 7, 2, 7), "  foo x\n       ^"),
    ((2, 99, 2, 100), "  foo x\n       ^"),
    ((3, 3, 3, 4), "日本 = x\n     ^"),
    ((3, 0, 3, 2), "日本 = x\n^^^^"),
    ((4, 1, 4, 2), " y\n ^"),
    ((5, 0, 5, 1), ""),
    ((0, 0, 0, 0), ""),
  ],
)
def test_carets_stand_under_the_place(place, expected):
  source = "theorem\n  foo x\n日本 = x\n\ty"
  assert source_excerpt(Message("error", *place, "bad"), source) == expected


@pytest.mark.parametrize(
  "code", [CODE, STATEMENT, "\n\n  x\n\n", "", "«a b» /- "]
)
def test_highlighting_changes_no_character(code):
  assert highlight_lean(code).plain == code


def test_lean_is_highlighted():
  assert highlight_lean(STATEMENT).spans


def test_nothing_that_a_terminal_obeys_is_shown():
  assert printable("a\x1b[2J\r∀\n\tb\u202e") == "a\ufffd[2J\ufffd∀\n\tb\ufffd"


def test_messages_beyond_the_fifth_are_counted():
  file = io.StringIO()
  console = Console(file=file, width=72, highlight=False)
  message = Message("warning", 1, 0, 1, 7, "unused\x1b[2J")
  print_messages(console, [message] * 7, CODE, path="a.lean")
  one = "a.lean:1:0: warning: unused\ufffd[2J\n  import Mathlib\n  ^^^^^^^\n"
  assert file.getvalue() == one * 5 + "and 2 more messages\n"


def test_remarks_leave_out_what_an_error_message_says():
  error = Message("error", 1, 0, 1, 1, "sorry")
  assert verdict_remarks(Verdict(Status.HAS_SORRY, (error,), detail="s")) == []
  proved = Verdict(
    Status.PROVED, detail="d", axioms=(), notes=("n",), confirmed=True
  )
  assert verdict_remarks(proved) == [
    "d",
    "note: n",
    "axioms: none",
    "a second verifier accepts it too",
  ]
