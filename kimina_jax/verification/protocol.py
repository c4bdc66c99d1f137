"""The REPL's replies: a JSON object in, a typed record out.

The shapes are those of leanprover-community/repl: a command's reply holds
`env` and perhaps `messages` and `sorries`; an error holds `message` alone.
Anything else is a protocol violation, never a guess.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kimina_jax.types import Message, Status

_FIELDS = frozenset(("env", "messages", "sorries", "tactics", "infotree"))
_SEVERITIES = frozenset(("error", "warning", "info", "trace"))


class WorkerFailure(Exception):
  """The worker can no longer be trusted.

  Attributes:
    status: TIMEOUT, OUT_OF_MEMORY, CRASH or PROTOCOL_VIOLATION.
    detail: what happened, in words.
  """

  def __init__(self, status: Status, detail: str):
    super().__init__(f"{status}: {detail}")
    self.status = status
    self.detail = detail


@dataclasses.dataclass(frozen=True)
class Sorry:
  """A `sorry` that Lean met, with the goal it left open."""

  line: int
  column: int
  goal: str


@dataclasses.dataclass(frozen=True)
class Reply:
  """What Lean says of one command.

  Example:
    Reply(env=3, messages=(Message("error", 1, 8, 1, 9, "unsolved goals"),))

  Attributes:
    env: the environment after the command.
    messages: in Lean's order, positions in the command's text.
    sorries: in Lean's order.
  """

  env: int
  messages: tuple[Message, ...] = ()
  sorries: tuple[Sorry, ...] = ()


def parse_reply(frame: Mapping[str, Any]) -> Reply:
  """Reads the reply to a command.

  Raises:
    WorkerFailure: PROTOCOL_VIOLATION, for an error object and for every
      frame that is not exactly a command's reply.
  """
  if "message" in frame:
    raise violation(f"the REPL refuses: {frame['message']!r:.200}")
  if not _FIELDS.issuperset(frame):
    raise violation(f"unknown fields {sorted(set(frame) - _FIELDS)}")
  try:
    return Reply(
      env=_integer(frame["env"]),
      messages=tuple(map(_message, frame.get("messages", ()))),
      sorries=tuple(map(_sorry, frame.get("sorries", ()))),
    )
  except (KeyError, TypeError, ValueError) as error:
    raise violation(f"malformed reply: {error!r:.200}") from error


def violation(detail: str) -> WorkerFailure:
  return WorkerFailure(Status.PROTOCOL_VIOLATION, detail)


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
  return value


def _text(value: Any) -> str:
  if not isinstance(value, str):
    raise TypeError(f"{value!r} is not a string")
  return value
