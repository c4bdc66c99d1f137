"""The REPL protocol: recorded frames, malformed and forged ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.types import Message, Status
from kimina_jax.verification.process.protocol import (
  WorkerFailure,
  parse_frame,
  parse_reply,
)
from kimina_jax.verification.replies import Reply, Sorry


def test_recorded_replies(data_dir):
  """Every field of every recorded reply arrives where it belongs."""
  num_seen = {"replies": 0, "messages": 0, "sorries": 0, "refusals": 0}
  for path in sorted((data_dir / "repl-transcripts").glob("*.out")):
    for frame in path.read_bytes().split(b"\n\n"):
      if not frame.strip() or not frame.lstrip().startswith(b"{"):
        continue
      fields = json.loads(frame)
      assert parse_frame(frame) == fields
      if "message" in fields:
        num_seen["refusals"] += 1
        with pytest.raises(WorkerFailure, match="the REPL refuses"):
          parse_reply(fields)
      elif "env" in fields:
        num_seen["replies"] += 1
        reply = parse_reply(fields)
        assert as_sent(reply) == without_the_rest(fields)
        num_seen["messages"] += len(reply.messages)
        num_seen["sorries"] += len(reply.sorries)
  assert min(num_seen.values()) > 0, num_seen
  # Of 68; the others are replies to single tactics, which are not used here.
  assert num_seen["messages"] == 64


def as_sent(reply: Reply) -> dict:
  """The typed reply in the REPL's own words."""
  return {
    "env": reply.env,
    "messages": [
      {
        "severity": m.severity,
        "pos": {"line": m.line, "column": m.column},
        "endPos": {"line": m.end_line, "column": m.end_column},
        "data": m.text,
      }
      for m in reply.messages
    ],
    "sorries": [
      {"pos": {"line": s.line, "column": s.column}, "goal": s.goal}
      for s in reply.sorries
    ],
  }


def without_the_rest(fields: dict) -> dict:
  """A recorded reply without unused fields, and with its empty lists."""
  return {
    "env": fields["env"],
    "messages": [
      {
        "severity": message["severity"],
        "pos": message["pos"],
        "endPos": message.get("endPos") or {"line": 0, "column": 0},
        "data": message["data"],
      }
      for message in fields.get("messages", [])
    ],
    "sorries": [
      {"pos": sorry["pos"], "goal": sorry["goal"]}
      for sorry in fields.get("sorries", [])
    ],
  }


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


GOOD = {
  "severity": "info",
  "pos": {"line": 1, "column": 0},
  "endPos": {"line": 1, "column": 7},
  "data": "fine",
}


@pytest.mark.parametrize(
  "fields",
  [
    {},
    {"message": "Unknown environment."},
    {"message": "Unknown environment.", "env": 0},
    {"env": None},
    {"env": "0"},
    {"env": True},
    {"env": 0.0},
    {"env": -1},
    {"env": 2**31},
    {"env": 0, "verdict": "proved"},
    {"env": 0, "messages": None},
    {"env": 0, "messages": {}},
    {"env": 0, "messages": ""},
    {"env": 0, "messages": 1},
    {"env": 0, "messages": [1]},
    {"env": 0, "messages": ["error"]},
    {"env": 0, "messages": [[]]},
    {"env": 0, "messages": [GOOD, {**GOOD, "severity": "fine"}]},
    {"env": 0, "messages": [{**GOOD, "severity": []}]},
    {"env": 0, "messages": [{**GOOD, "severity": "Error"}]},
    {"env": 0, "messages": [{**GOOD, "pos": {}}]},
    {"env": 0, "messages": [{**GOOD, "pos": {"line": 1, "column": -1}}]},
    {"env": 0, "messages": [{**GOOD, "endPos": {"line": 10**30, "column": 1}}]},
    {"env": 0, "messages": [{**GOOD, "endPos": 3}]},
    {"env": 0, "messages": [{**GOOD, "data": None}]},
    {"env": 0, "messages": [{**GOOD, "data": "\ud800"}]},
    {"env": 0, "sorries": {"goal": "p"}},
    {"env": 0, "sorries": [{"goal": "p"}]},
    {"env": 0, "sorries": [{"pos": GOOD["pos"]}]},
  ],
  ids=str,
)
def test_odd_replies_are_violations(fields):
  assert_violation(parse_reply, fields)


@pytest.mark.parametrize(
  "frame",
  [
    b"",
    b"{",
    b"[]",
    b"0",
    b'"env"',
    b"null",
    b'{"env": 0} {"env": 1}',
    b'{"env": 0}\n{"env": 1}',
    b'{"env": 0},',
    b"{'env': 0}",
    b'{"env": 00}',
    b'{"env": NaN}',
    b'{"env": Infinity}',
    b'{"env": -Infinity}',
    b'{"env": 0, "env": 0}',
    b'{"env": 0, "messages": [{"data": "a", "data": "b"}]}',
    b'{"env": "\n"}',
    b'{"env": "\xff"}',
    b'{"env": "\xed\xa0\x80"}',
    b'{"env": "\xc0\x80"}',
    b'\xef\xbb\xbf{"env": 0}',
    '{"env": 0}'.encode("utf-16"),
    b'{"env": ' + b"9" * 100_000 + b"}",
    b'{"env": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
    b"[" * 1_000_000,
  ],
  ids=lambda frame: repr(frame[:30]),
)
def test_odd_frames_are_violations(frame):
  assert_violation(parse_frame, frame)


def assert_violation(parse, value) -> None:
  with pytest.raises(WorkerFailure) as caught:
    parse(value)
  assert caught.value.status is Status.PROTOCOL_VIOLATION
  assert len(caught.value.detail) < 1000


JSON = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(
      st.sampled_from(
        ["env", "messages", "sorries", "severity", "pos", "data", "message"]
      ),
      inner,
      max_size=4,
    )
  ),
  max_leaves=12,
)


@given(JSON)
def test_any_frame_is_a_reply_or_a_violation(value):
  """No other exception is raised, and a reply has the values of its frame."""
  try:
    reply = parse_reply(parse_frame(json.dumps(value).encode()))
  except WorkerFailure as failure:
    assert failure.status is Status.PROTOCOL_VIOLATION
    return
  assert reply.env == value["env"]
  assert as_sent(reply) == without_the_rest(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_violation(frame):
  try:
    assert parse_frame(frame) == json.loads(frame.decode())
  except WorkerFailure as failure:
    assert failure.status is Status.PROTOCOL_VIOLATION


MESSAGES = st.builds(
  Message,
  severity=st.sampled_from(["error", "warning", "info", "trace"]),
  line=st.integers(1, 10**6),
  column=st.integers(0, 10**6),
  end_line=st.integers(1, 10**6),
  end_column=st.integers(0, 10**6),
  text=st.text(st.characters(exclude_categories=["Cs"])),
)
REPLIES = st.builds(
  Reply,
  env=st.integers(0, 10**6),
  messages=st.lists(MESSAGES, max_size=3).map(tuple),
  sorries=st.lists(
    st.builds(
      Sorry,
      line=st.integers(1, 10**6),
      column=st.integers(0, 10**6),
      goal=st.text(st.characters(exclude_categories=["Cs"])),
    ),
    max_size=3,
  ).map(tuple),
)


@given(REPLIES, st.booleans())
def test_every_reply_crosses(reply, is_ascii):
  sent = as_sent(reply)
  sent = {name: value for name, value in sent.items() if value != []}
  frame = json.dumps(sent, ensure_ascii=is_ascii, indent=1).encode()
  assert parse_reply(parse_frame(frame)) == reply
