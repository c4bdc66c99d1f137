"""Replies of Lean to the commands of an audit, as records.

The backends make them, whatever the transport: process/protocol.py from the
JSON of a REPL, remote/snippet.py from the answer of a server. The audit judges
them.
"""

import dataclasses

from kimina_jax.types import Message


@dataclasses.dataclass(frozen=True)
class Sorry:
  """A `sorry` in a command, with the goal that it leaves open."""

  line: int
  column: int
  goal: str


@dataclasses.dataclass(frozen=True)
class Reply:
  """The reply of Lean to one command.

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
