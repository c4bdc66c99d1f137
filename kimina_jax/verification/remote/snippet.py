"""A whole audit in one text, and whose line is whose.

In: an audit. Out: the text that a server shall run; and from the one reply to
it, the three replies that a process of one's own would have given.

  import Mathlib               the server runs this in advance
  #eval Lean.versionString     says which Lean runs, and how lines are counted
  open Real                    the preamble
  def __stmt_… : Prop := …     the statement
  section __stmt_…
  theorem t … := by …          the proof
  end __stmt_…
  theorem __ok_… : … := @t     the check
  #print axioms __ok_…

Lean puts the error about a text that stops too early on the token that comes
next. The two fences are such tokens: what is wrong with the statement falls on
the first, what is wrong with the proof on the second, and neither lets go on
what ends in a modifier or an `open … in`.

Nothing here talks to a server or judges.
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence

from kimina_jax.types import Message, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit
from kimina_jax.verification.replies import Reply, Sorry

_ASK_VERSION = "#eval Lean.versionString"
_VERSION = re.compile(r'"([0-9][^"]*)"\s*')
# The server runs what follows the imports in a process that it keeps; without
# any import it would run it on top of what it was sent before.
_NO_IMPORTS = "import Init"
_MAX_WORDS = 2000
# The parts of a text, by number.
_STATEMENT, _PROOF, _CHECK = 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Snippet:
  """One text for a server.

  Attributes:
    code: the text.
    starts: 1-based first lines of its parts: imports, the line that asks for
      the version, and if it holds an audit, preamble, statement, proof, check.
  """

  code: str
  starts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a server says of a snippet.

  Attributes:
    version: of its Lean.
    reply: its lines are counted from the top of the snippet.
  """

  version: str
  reply: Reply


def make_snippet(imports: str, *parts: str) -> Snippet:
  """A text that begins with imports, and has Lean say its version."""
  texts = (imports.strip() or _NO_IMPORTS, _ASK_VERSION, *parts)
  sizes = [text.count("\n") + 1 for text in texts]
  starts = tuple(itertools.accumulate(sizes[:-1], initial=1))
  return Snippet("\n".join(texts), starts)


def compose(audit: Audit, nonce: str, seal: str) -> Snippet:
  """The whole audit; nonce and seal as in `Audit.commands`."""
  statement, proof, check = audit.commands(nonce, seal)
  fence = f"__stmt_{nonce}"
  return make_snippet(
    audit.imports,
    audit.preamble,
    f"{statement}\nsection {fence}",
    f"{proof}\nend {fence}",
    check,
  )


def locate(snippet: Snippet, reply: Reply) -> Answer | None:
  """The reply with its lines counted from the top of the snippet.

  A server takes the imports off and runs the rest; some put the lines right
  again, others (before October 2025) count from the first line of the rest.
  That is the line that asks for the version, so its reply tells.

  Returns:
    The answer, or None if Lean did not say its version there.
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
  return Answer(versions[first - shift], moved)


def split(snippet: Snippet, answer: Answer) -> tuple[Reply, ...] | Verdict:
  """The replies to statement, proof and check; lines are those of each text.

  Returns:
    Three replies, or the verdict that makes them needless: an INFRA_ERROR if
    the header is wrong.
  """
  starts, reply = snippet.starts, answer.reply
  errors = [m for m in reply.messages if m.severity == "error"]
  ahead = _words(m for m in errors if m.line < starts[_STATEMENT])
  if ahead:
    detail = f"the header does not elaborate: {ahead}"
    return Verdict(Status.INFRA_ERROR, detail=detail)
  return tuple(
    Reply(
      reply.env,
      tuple(
        _confine(_move(message, 1 - starts[part]), snippet, part)
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
  """Of whatever was left open ahead of the statement, the proof is suspect."""
  part = bisect.bisect(starts, line) - 1
  return part if part >= _STATEMENT else _PROOF


def _confine(message: Message, snippet: Snippet, part: int) -> Message:
  """Has what is said of the fence after a text speak of the text's end."""
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


def _words(messages: Iterable[Message]) -> str:
  return "; ".join(message.text for message in messages)[:_MAX_WORDS]
