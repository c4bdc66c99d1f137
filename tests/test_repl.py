"""One process over pipes: recorded sessions, odd frames, faults."""

import contextlib
import json
import os
import pathlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import assert_no_more_than, held

from kimina_jax.types import Message, Status
from kimina_jax.verification.protocol import (
  Reply,
  Sorry,
  WorkerFailure,
  parse_reply,
)
from kimina_jax.verification.repl import Repl

HERE = pathlib.Path(__file__).parent
ENV = {"PATH": os.environ["PATH"]}


def python(script: pathlib.Path, *arguments) -> list[str]:
  return [sys.executable, "-I", "-S", str(script), *map(str, arguments)]


@pytest.fixture
def start():
  """Starts processes and closes them, checking that nothing is left."""
  before = held()
  started = []

  def run(script, *arguments) -> Repl:
    started.append(Repl(python(script, *arguments), env=ENV))
    return started[-1]

  yield run
  for repl in started:
    repl.close()
  assert_no_more_than(before)


def test_recorded_sessions(data_dir):
  """Every recorded reply comes back whole, wherever the pipe cuts it."""
  sessions = sorted((data_dir / "repl-transcripts").glob("*.in"))
  assert len(sessions) == 57
  for path in sessions:
    answers = path.with_name(f"{path.stem}.expected.out")
    requests = [r.strip("\n") for r in path.read_text().split("\n\n")]
    argv = python(HERE / "replay_repl.py", path, answers)
    with contextlib.closing(Repl(argv, env=ENV)) as repl:
      frames = [
        repl.exchange(request, timeout_s=10.0)
        for request in requests
        if request
      ]
    assert frames == decode_all(answers.read_text())
    for frame in frames:
      if "env" in frame:
        check_typed(frame, parse_reply(frame))


def decode_all(text: str) -> list[dict]:
  """Reads objects one after the other, without looking for blank lines."""
  values, decoder = [], json.JSONDecoder()
  while text := text.lstrip():
    value, end = decoder.raw_decode(text)
    values.append(value)
    text = text[end:]
  return values


def check_typed(frame: dict, reply: Reply) -> None:
  assert reply.env == frame["env"]
  assert [m.text for m in reply.messages] == [
    m["data"] for m in frame.get("messages", [])
  ]
  for message, fields in zip(
    reply.messages, frame.get("messages", []), strict=True
  ):
    assert message.line == fields["pos"]["line"]
    assert message.column == fields["pos"]["column"]
    assert message.severity == fields["severity"]
  assert [s.goal for s in reply.sorries] == [
    s["goal"] for s in frame.get("sorries", [])
  ]


def test_typed_reply():
  frame = {
    "sorries": [
      {
        "proofState": 0,
        "pos": {"line": 1, "column": 18},
        "goal": "⊢ p",
        "endPos": {"line": 1, "column": 23},
      }
    ],
    "messages": [
      {
        "severity": "error",
        "pos": {"line": 2, "column": 3},
        "endPos": None,
        "data": "no",
      }
    ],
    "env": 7,
  }
  assert parse_reply(frame) == Reply(
    7, (Message("error", 2, 3, 0, 0, "no"),), (Sorry(1, 18, "⊢ p"),)
  )


@pytest.mark.parametrize(
  "frame",
  [
    {},
    {"message": "Unknown environment."},
    {"env": "0"},
    {"env": True},
    {"env": 0, "verdict": "proved"},
    {"env": 0, "messages": [{"severity": "fine"}]},
    {"env": 0, "messages": [1]},
    {"env": 0, "messages": 1},
    {"env": 0, "sorries": [{"goal": "p"}]},
    {"env": 0, "messages": [{"severity": "info", "pos": {}, "data": ""}]},
  ],
)
def test_odd_frames_are_violations(frame):
  with pytest.raises(WorkerFailure) as caught:
    parse_reply(frame)
  assert caught.value.status is Status.PROTOCOL_VIOLATION


def test_environments_are_counted(start):
  repl = start(HERE / "fake_repl.py")
  assert repl.command("def a := 1", timeout_s=10.0).env == 0
  assert repl.command("def b := 1", env=0, timeout_s=10.0).env == 1
  with pytest.raises(WorkerFailure, match="environment 7 instead of 2"):
    repl.command("FAULT:wrong_env", env=1, timeout_s=10.0)


@pytest.mark.parametrize(
  ("fault", "status", "words"),
  [
    ("hang", Status.TIMEOUT, "no reply in time"),
    ("half", Status.TIMEOUT, "no reply in time"),
    ("stubborn", Status.TIMEOUT, "no reply in time"),
    ("leave", Status.CRASH, "exit code 3; goodbye"),
    ("segv", Status.CRASH, "exit code -11"),
    ("killed", Status.OUT_OF_MEMORY, "exit code -9"),
    ("memory", Status.OUT_OF_MEMORY, "out of memory"),
    ("huge", Status.PROTOCOL_VIOLATION, "reply of more than"),
    ("not_json", Status.PROTOCOL_VIOLATION, "not JSON: b'Hello, world'"),
    ("refusal", Status.PROTOCOL_VIOLATION, "Unknown environment"),
    ("grandchild", Status.CRASH, "exit code 4"),
  ],
)
def test_faults(start, fault, status, words):
  repl = start(HERE / "fake_repl.py")
  repl.command("import Mathlib", timeout_s=10.0)
  limit_s = 0.2 if status is Status.TIMEOUT else 1.0
  with pytest.raises(WorkerFailure, match=words) as caught:
    repl.command(f"FAULT:{fault}", timeout_s=limit_s)
  assert caught.value.status is status


@pytest.mark.parametrize("fault", ["two_frames", "forged"])
def test_more_than_was_asked(start, fault):
  repl = start(HERE / "fake_repl.py")
  repl.command("import Mathlib", timeout_s=10.0)
  with pytest.raises(WorkerFailure, match="unasked output") as caught:
    repl.command(f"FAULT:{fault}", env=0, timeout_s=10.0)
  assert caught.value.status is Status.PROTOCOL_VIOLATION


def test_floods_and_megabytes_pass(start):
  repl = start(HERE / "fake_repl.py")
  repl.command("FAULT:flood", timeout_s=10.0)
  reply = repl.command("FAULT:large", timeout_s=10.0)
  assert reply.messages[0].text == "∀ε" * 250_000
  assert repl.command("x" * 3_000_000, timeout_s=10.0).env == 2


@pytest.fixture(scope="module")
def echo():
  """A process that answers each request with its text as a message."""
  program = (
    "import json, sys\n"
    "for line in sys.stdin.buffer:\n"
    "  if line != b'\\n':\n"
    "    text = json.loads(line)['cmd']\n"
    "    print(json.dumps({'message': text}, ensure_ascii=False) + '\\n',\n"
    "          flush=True)\n"
  )
  repl = Repl(
    [sys.executable, "-I", "-c", program],
    env={**ENV, "PYTHONIOENCODING": "utf8"},
  )
  yield repl
  repl.close()


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_crosses_the_pipes(echo, text):
  request = json.dumps({"cmd": text}, ensure_ascii=False)
  assert echo.exchange(request, timeout_s=10.0) == {"message": text}
