"""minilean as a process: framing, environments, messages, sorries, axioms."""

import io
import json
import subprocess
import sys

import pytest

from kimina_jax.minilean import __main__ as process

COMMAND = [sys.executable, "-m", "kimina_jax.minilean"]


def _talk(text: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    COMMAND,
    input=text.encode(),
    capture_output=True,
    timeout=60,
    check=False,
  )


def _frames(output: bytes) -> list[dict]:
  """Splits replies at blank lines, like a driver."""
  *frames, rest = output.decode().split("\n\n")
  assert rest == ""
  return [json.loads(frame) for frame in frames]


def _ask(*requests: dict) -> list[dict]:
  """Returns the replies of `serve`, without starting a process."""
  text = "".join(json.dumps(r, ensure_ascii=False) + "\n\n" for r in requests)
  replies = io.StringIO()
  process.serve(io.StringIO(text), replies)
  return _frames(replies.getvalue().encode())


def test_a_process_replies_as_serve_does():
  requests = [
    {"cmd": "import Mathlib\n\nopen Real"},
    {"cmd": "theorem a (x : ℝ) : x + 0 = x := by sorry", "env": 0},
    {"cmd": "#print axioms a", "env": 1},
  ]
  text = "".join(json.dumps(r, ensure_ascii=False) + "\n\n" for r in requests)
  done = _talk(text)
  assert done.returncode == 0, done.stderr
  assert _frames(done.stdout) == _ask(*requests)


def test_environments_are_consecutive_and_immutable():
  replies = _ask(
    {"cmd": "import Mathlib\nimport Aesop\n\nopen Real Nat"},
    {"cmd": "theorem a (x : ℤ) : x + 0 = x := by norm_num", "env": 0},
    {"cmd": "theorem b (x : ℤ) : x + 0 = x := a x", "env": 1},
    {"cmd": "theorem b (x : ℤ) : x + 0 = x := a x", "env": 0},
    {"cmd": "theorem a : 1 = 1 := by rfl", "env": 1},
    {"cmd": "theorem a : 1 = 1 := by rfl"},
  )
  assert [reply["env"] for reply in replies] == [0, 1, 2, 3, 4, 5]
  errors = ["messages" in reply for reply in replies]
  assert errors == [False, False, False, True, True, False]
  assert replies[3]["messages"][0] == {
    "severity": "error",
    "pos": {"line": 1, "column": 33},
    "endPos": {"line": 1, "column": 34},
    "data": "Unknown identifier `a`",
  }
  assert "already been declared" in replies[4]["messages"][0]["data"]


def test_empty_lists_are_omitted_and_unknown_environments_named():
  replies = _ask({"cmd": "theorem t : 1 = 1 := rfl"}, {"cmd": "", "env": 7})
  assert replies == [{"env": 0}, {"message": "Unknown environment."}]


def test_sorry_is_a_warning_with_place_and_goal():
  (first, second) = _ask(
    {"cmd": "theorem foo (x : ℤ) : x = x := by\n  have h : x = 1 := by sorry"},
    {"cmd": "theorem foo (x : ℤ) : x = x := by sorry"},
  )
  assert first == {
    "sorries": [
      {
        "proofState": 0,
        "pos": {"line": 2, "column": 23},
        "endPos": {"line": 2, "column": 28},
        "goal": "x : ℤ\n⊢ x = 1",
      }
    ],
    "messages": [
      {
        "severity": "error",
        "pos": {"line": 1, "column": 31},
        "endPos": {"line": 2, "column": 28},
        "data": "unsolved goals\nx : ℤ\nh : x = 1\n⊢ x = x",
      }
    ],
    "env": 0,
  }
  assert second["sorries"][0]["proofState"] == 1
  assert second["messages"] == [
    {
      "severity": "warning",
      "pos": {"line": 1, "column": 8},
      "endPos": {"line": 1, "column": 11},
      "data": "declaration uses `sorry`",
    }
  ]


@pytest.mark.parametrize(
  "text",
  ['{"cmd": "x"', "[1]", "{}", '{"cmd": 1}', '{"cmd": "", "env": "0"}', "\n"],
)
def test_bad_requests_are_fatal(text):
  good = '{"cmd": "import Mathlib"}\n\n'
  done = _talk(good + text + "\n\n" + good)
  assert done.returncode == 1
  assert _frames(done.stdout) == [{"env": 0}]
  assert done.stderr


def test_a_request_may_span_lines_and_comments_get_no_reply():
  done = _talk('{"cmd":\n "theorem t :\\n 1 = 1 := rfl"}\n\n# x\n\n-- y\n\n')
  assert (done.returncode, _frames(done.stdout)) == (0, [{"env": 0}])


PROVED = "theorem p (x : ℤ) (h : x + 2 = 5) : x = 3 := by\n  linarith"
AUDIT = "theorem ok : stmt := @p"
STATEMENT = "def stmt : Prop := ∀ (x : ℤ) (h : x + 2 = 5), x = 3"
ALL = "[propext, Classical.choice, Quot.sound]"


ACCEPTED = [
  (PROVED, ALL),
  (PROVED.replace("x : ℤ", "y : ℤ").replace("x ", "y "), ALL),
  (PROVED.replace("linarith", "sorry"), "[sorryAx]"),
  (
    "theorem q : 1 = 2 := sorry\n" + PROVED.replace("linarith", "linarith [q]"),
    "[propext, sorryAx, Classical.choice, Quot.sound]",
  ),
]
REFUSED = [
  "theorem p (x : ℤ) (h : x + 2 = 5) : x ≤ 3 := by linarith",
  "theorem p (x : ℤ) (h : x + 2 = 6) : x = 4 := by linarith",
  "theorem p (x : ℤ) (h : x + 2 = 5) (k : False) : x = 3 := by linarith",
  "theorem p (x : ℝ) (h : x + 2 = 5) : x = 3 := by linarith",
  "theorem p (x : ℤ) : x = x := rfl",
  PROVED.replace("linarith", "ring"),
  "",
]


def test_audit():
  requests = [{"cmd": STATEMENT}]
  for proof in [*(proof for proof, _ in ACCEPTED), *REFUSED]:
    env = len(requests)
    requests.append({"cmd": proof, "env": 0})
    requests.append({"cmd": AUDIT, "env": env})
    requests.append({"cmd": "#print axioms ok", "env": env + 1})
  replies = _ask(*requests)
  pairs = list(zip(replies[2::3], replies[3::3], strict=True))
  for (_, axioms), (audit, printed) in zip(ACCEPTED, pairs, strict=False):
    (message,) = printed["messages"]
    assert message["severity"] == "info"
    assert message["data"] == f"'ok' depends on axioms: {axioms}"
    assert "messages" not in audit
  for audit, printed in pairs[len(ACCEPTED) :]:
    assert audit["messages"][0]["severity"] == "error"
    assert printed["messages"][0]["data"] == "Unknown constant `ok`"


def test_axiom_free_proofs_say_so():
  (reply,) = _ask({"cmd": "theorem t : 2 < 3 := by decide\n#print axioms t"})
  assert reply["messages"][0]["data"] == "'t' does not depend on any axioms"
  assert reply["messages"][0]["pos"] == {"line": 2, "column": 0}
