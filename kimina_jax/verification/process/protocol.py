"""REPL protocol: parses the frames that a Lean REPL prints into Replies.

The format is that of leanprover-community/repl: the reply to a command has
`env` and perhaps `messages` and `sorries`; an error has `message` only.
Anything else is a protocol violation, also what a lenient parser would accept:
JSON with a repeated name, NaN, text with lone surrogates.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from kimina_jax.types import Message, Status
from kimina_jax.verification.replies import Reply, Sorry

_FIELDS = frozenset(("env", "messages", "sorries", "tactics", "infotree"))
_SEVERITIES = frozenset(("error", "warning", "info", "trace"))
_MAX_INTEGER = 2**31 - 1


class WorkerFailure(Exception):
  """A worker failed, and its state can no longer be trusted.

  Attributes:
    status: TIMEOUT, OUT_OF_MEMORY, CRASH or PROTOCOL_VIOLATION.
    detail: what happened.
  """

  def __init__(self, status: Status, detail: str):
    super().__init__(f"{status}: {detail}")
    self.status = status
    self.detail = detail


def parse_frame(frame: bytes) -> dict[str, Any]:
  """Parses a frame, without the blank line that ends it.

  Raises:
    WorkerFailure: PROTOCOL_VIOLATION, unless the frame is one JSON object in
      UTF-8 that every JSON parser reads alike.
  """
  try:
    fields = _DECODER.decode(frame.decode())
  except (ValueError, RecursionError) as error:
    raise violation(f"reply is not JSON: {frame[:200]!r}") from error
  if not isinstance(fields, dict):
    raise violation(f"reply is not an object: {frame[:200]!r}")
  return fields


def parse_reply(fields: Mapping[str, Any]) -> Reply:
  """Parses the reply to a command.

  Raises:
    WorkerFailure: PROTOCOL_VIOLATION, for an error object and for any other
      object that is not exactly the reply to a command.
  """
  if "message" in fields:
    raise violation(f"the REPL refuses: {fields['message']!r:.200}")
  if not _FIELDS.issuperset(fields):
    raise violation(f"unknown fields {sorted(set(fields) - _FIELDS)!r:.200}")
  try:
    return Reply(
      env=_integer(fields["env"]),
      messages=tuple(map(_message, _list(fields, "messages"))),
      sorries=tuple(map(_sorry, _list(fields, "sorries"))),
    )
  except (KeyError, TypeError, ValueError) as error:
    raise violation(f"malformed reply: {error!r:.200}") from error


def violation(detail: str) -> WorkerFailure:
  """A WorkerFailure with status PROTOCOL_VIOLATION."""
  return WorkerFailure(Status.PROTOCOL_VIOLATION, detail)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
  """The pairs of a JSON object as a dict, unless a name is repeated."""
  fields = dict(pairs)
  if len(fields) < len(pairs):
    raise ValueError("a name twice in one object")
  return fields


def _refuse_constant(name: str) -> NoReturn:
  raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
  object_pairs_hook=_unique, parse_constant=_refuse_constant
)


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
  """A list; the REPL leaves out empty ones."""
  values = fields.get(name, [])
  if not isinstance(values, list):
    raise TypeError(f"{name} is no list: {values!r:.200}")
  return values


def _message(fields: Mapping[str, Any]) -> Message:
  if fields["severity"] not in _SEVERITIES:
    raise ValueError(f"severity {fields['severity']!r}")
  end = fields.get("endPos")
  return Message(
    fields["severity"],
    *_position(fields["pos"]),
    *(_position(end) if end is not None else (0, 0)),
    _text(fields["data"]),
  )


def _sorry(fields: Mapping[str, Any]) -> Sorry:
  return Sorry(*_position(fields["pos"]), _text(fields["goal"]))


def _position(fields: Mapping[str, Any]) -> tuple[int, int]:
  return _integer(fields["line"]), _integer(fields["column"])


def _integer(value: Any) -> int:
  if type(value) is not int:
    raise TypeError(f"{value!r} is not an integer")
  if not 0 <= value <= _MAX_INTEGER:
    raise ValueError(f"out of range: {value}")
  return value


def _text(value: Any) -> str:
  if not isinstance(value, str):
    raise TypeError(f"{value!r} is not a string")
  value.encode()  # fails on lone surrogates, which no file could hold
  return value
