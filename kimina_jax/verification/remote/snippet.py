"""Snippet: a whole audit as one text, and the split of its messages by part.

In: an audit. Out: the text for a server; and from the one reply to the text,
the three replies that a local process would have given.

  import Mathlib               the server runs this in advance
  #eval Lean.versionString     gives the version, and how lines are counted
  open Real                    the preamble
  def __stmt_… : Prop := …     the statement
  section __stmt_…
  theorem t … := by …          the proof
  end __stmt_…
  theorem __ok_… : … := @t     the check
  #print axioms __ok_…

Lean reports an error about a text that stops too early at the next token. The
commands `section` and `end` are such tokens: errors of the statement are
reported at the first, those of the proof at the second, and neither can
continue a text that ends in a modifier or an `open … in`.

This module sends nothing and judges nothing.
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence

from kimina_jax.types import Message, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.replies import Reply, Sorry

_VERSION_COMMAND = "#eval Lean.versionString"
_VERSION = re.compile(r'"([0-9][^"]*)"\s*')
# A server runs the text after the imports in a process that it keeps; without
# imports it would run it in the environment of earlier texts.
_NO_IMPORTS = "import Init"
_MAX_TEXT_CHARS = 2000
# The parts of a text, by number.
_STATEMENT, _PROOF, _CHECK = 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Snippet:
  """One text for a server.

  Attributes:
    code: the text.
    starts: 1-based first lines of its parts: imports, the version command, and
      if it holds an audit, preamble, statement, proof, check.
  """

  code: str
  starts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class SnippetReply:
  """The reply of a server to a snippet.

  Attributes:
    version: of its Lean.
    reply: with lines counted from the top of the snippet.
  """

  version: str
  reply: Reply


def make_snippet(imports: str, *parts: str) -> Snippet:
  """A text of imports, the command that prints the version, and other parts."""
  texts = (imports.strip() or _NO_IMPORTS, _VERSION_COMMAND, *parts)
  sizes = [text.count("\n") + 1 for text in texts]
  starts = tuple(itertools.accumulate(sizes[:-1], initial=1))
  return Snippet("\n".join(texts), starts)


def compose_audit(audit: Audit, nonce: str, seal: str) -> Snippet:
  """The snippet of an audit; nonce and seal as in `Audit.commands`."""
  statement, proof, check = audit.commands(nonce, seal)
  fence = f"__stmt_{nonce}"
  return make_snippet(
    audit.imports,
    audit.preamble,
    f"{statement}\nsection {fence}",
    f"{proof}\nend {fence}",
    check,
  )


def align_lines(snippet: Snippet, reply: Reply) -> SnippetReply | None:
  """A server's reply with its lines counted from the top of the snippet.

  A server removes the imports and runs the rest. Its line numbers count from
  the top of the whole text, or (servers before October 2025) from the first
  line of the rest. That line is the version command, so the position of its
  message shows which.

  Returns:
    The reply, or None if it holds no version at either place.
  """
  first = snippet.starts[1]
  versions = {
    message.line: found[1]
    for message in reversed(reply.messages)
    if message.severity == "info" and message.line in (1, first)
    if (found := _VERSION.fullmatch(message.text))
  }
  if not versions:
    return None
  shift = first - 1 if 1 in versions else 0
  moved = Reply(
    reply.env,
    tuple(_move(message, shift) for message in reply.messages),
    tuple(_move_sorry(sorry, shift) for sorry in reply.sorries),
  )
  return SnippetReply(versions[first - shift], moved)


def split_reply(
  snippet: Snippet, answer: SnippetReply
) -> tuple[Reply, ...] | Verdict:
  """The replies to statement, proof and check, with lines of each text.

  Returns:
    Three replies; or an INFRA_ERROR if the header does not elaborate.
  """
  starts, reply = snippet.starts, answer.reply
  errors = [m for m in reply.messages if m.severity == "error"]
  header_errors = _joined_texts(
    m for m in errors if m.line < starts[_STATEMENT]
  )
  if header_errors:
    detail = f"the header does not elaborate: {header_errors}"
    return Verdict(Status.INFRA_ERROR, detail=detail)
  return tuple(
    Reply(
      reply.env,
      tuple(
        _clip_to_part(_move(message, 1 - starts[part]), snippet, part)
        for message in reply.messages
        if bisect.bisect(starts, message.line) - 1 == part
      ),
      tuple(
        _move_sorry(sorry, 1 - starts[part])
        for sorry in reply.sorries
        if _part_of_sorry(starts, sorry.line) == part
      ),
    )
    for part in (_STATEMENT, _PROOF, _CHECK)
  )


def _part_of_sorry(starts: Sequence[int], line: int) -> int:
  """The part of a sorry; one ahead of the statement counts as the proof's."""
  part = bisect.bisect(starts, line) - 1
  return part if part >= _STATEMENT else _PROOF


def _clip_to_part(message: Message, snippet: Snippet, part: int) -> Message:
  """Moves a message about the token after a part to the end of the part."""
  if part == _CHECK:
    return message
  first, after = snippet.starts[part : part + 2]
  num_lines = after - first - 1
  if max(message.line, message.end_line) <= num_lines:
    return message
  end = (num_lines, len(snippet.code.split("\n")[after - 3]))
  start = min((message.line, message.column), end)
  stop = min((message.end_line, message.end_column), end)
  return Message(message.severity, *start, *stop, message.text)


def _move(message: Message, shift: int) -> Message:
  return dataclasses.replace(
    message,
    line=message.line + shift,
    end_line=message.end_line + shift if message.end_line else 0,
  )


def _move_sorry(sorry: Sorry, shift: int) -> Sorry:
  return dataclasses.replace(sorry, line=sorry.line + shift)


def _joined_texts(messages: Iterable[Message]) -> str:
  return "; ".join(message.text for message in messages)[:_MAX_TEXT_CHARS]
