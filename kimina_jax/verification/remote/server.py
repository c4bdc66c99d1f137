"""A Kimina Lean Server as a checker: an audit in, a verdict out, over HTTP.

The audit is the local one, in one text (see snippet.py). Nonce and seal are
drawn after the proof's text is fixed, and the messages that come back are
parted by the lines that they speak of, so that `audit.judge_replies` sees the
same three replies as ever.

What a process of one's own gives and this does not: that the seal is out of
the proof's reach, that environments are counted, and that nobody else used the
process before. docs/verification.md weighs that.

It trusts the servers: whoever answers for one decides what is proved.
"""

import dataclasses
import functools
import logging
import math
import os
import re
import secrets
from collections.abc import Mapping
from typing import Any

from kimina_jax.types import Status, UsageError, Verdict
from kimina_jax.verification.acceptance.audit import (
  Audit,
  is_decided,
  judge_replies,
)
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.process.protocol import WorkerFailure, parse_reply
from kimina_jax.verification.remote.fleet import (
  KEY_VARIABLE,
  Fleet,
  NoServer,
  Unfit,
)
from kimina_jax.verification.remote.line import Line, Oversized, words
from kimina_jax.verification.remote.snippet import (
  Answer,
  Snippet,
  compose,
  locate,
  make_snippet,
  split,
)
from kimina_jax.verification.replies import Reply
from kimina_jax.verification.settings import CheckerSettings

_log = logging.getLogger(__name__)

_PATH = "/api/check"
# A server may have a text wait before it begins, and import before it checks.
_SERVER_WAIT_S = 120.0
_START_TIMEOUT_S = 120.0
_IMPORT_LINE = re.compile(r"(?:import \S+)?")
# What servers say of a text that got no reply; the first that fits.
_CAUSES = (
  ("header command timed out", Status.INFRA_ERROR),
  ("timed out", Status.TIMEOUT),
  ("out of memory|bad_alloc|memory limit", Status.OUT_OF_MEMORY),
  ("JSON decode error|from REPL stdout|crashed|REPL died", Status.CRASH),
)
# Those that a text itself may be to blame for, where the server fails over it.
_ENDS = (Status.OUT_OF_MEMORY, Status.CRASH)


class ServerWorker:
  """One audit at a time on whichever server is up; a backend.Checker."""

  def __init__(self, fleet: Fleet, version: str):
    """Connects to nothing yet.

    Args:
      fleet: the servers.
      version: of Lean, that each of them must have; "" for any.
    """
    self._fleet = fleet
    self._version = version
    self._line = Line(fleet)
    self._imports: str | None = None
    # The server's process has served others, so this is never a fresh one.
    self.num_uses = 1
    self.must_replace = False
    self.pid = 0

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Has a server import; an INFRA_ERROR if none does."""
    if imports == self._imports:
      return None
    for line in imports.split("\n"):
      if not _IMPORT_LINE.fullmatch(line.strip()):
        detail = f"a server takes one `import Module` a line, not {line!r}"
        return Verdict(Status.INFRA_ERROR, detail=detail)
    answer = self._ask(make_snippet(imports), timeout_s=timeout_s)
    if isinstance(answer, Verdict):
      self.must_replace = True
      detail = f"while loading: {answer.detail}"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    self._imports = imports
    return None

  def check(self, audit: Audit, *, timeout_s: float) -> Verdict:
    """Runs an audit whose imports are loaded.

    Args:
      audit: what to ask.
      timeout_s: for the server's Lean; what the server waits and imports comes
        on top.
    """
    self.num_uses += 1
    # Drawn now: the proof's text is fixed.
    nonce, seal = secrets.token_hex(8), secrets.token_hex(8)
    snippet = compose(audit, nonce, seal)
    answer = self._ask(snippet, timeout_s=timeout_s)
    replies = answer if isinstance(answer, Verdict) else split(snippet, answer)
    if isinstance(replies, Verdict):
      return dataclasses.replace(replies, notes=audit.notes)
    asked = 1
    while not is_decided(replies[:asked]):
      asked += 1
    verdict = judge_replies(audit, seal, replies[:asked])
    self.must_replace = verdict.status is Status.PROTOCOL_VIOLATION
    return verdict

  def ask_version(self) -> str:
    """Which Lean a server runs.

    Raises:
      NoServer: none says so at once.
    """
    answer = self._send(make_snippet(""), _START_TIMEOUT_S, patience_s=0.0)
    if isinstance(answer, Verdict):
      raise NoServer(self._fleet.redact(answer.detail))
    return answer.version

  def kill_for_memory(self) -> None:
    """As kill: the memory is the server's."""
    self.kill()

  def kill(self) -> None:
    """Ends the exchange in progress; from any thread."""
    self._line.kill()

  def close(self) -> None:
    """Frees the connection."""
    self._line.close()

  def _ask(self, snippet: Snippet, *, timeout_s: float) -> Answer | Verdict:
    """An answer, or the verdict on its absence."""
    try:
      answer = self._send(snippet, timeout_s, patience_s=timeout_s)
    except NoServer as failure:
      answer = Verdict(Status.INFRA_ERROR, detail=str(failure))
    except Oversized as failure:
      answer = Verdict(Status.PROTOCOL_VIOLATION, detail=str(failure))
    if isinstance(answer, Verdict):
      # A server that says that Lean took too long has seen to it.
      self.must_replace = answer.status is not Status.TIMEOUT
      detail = self._fleet.redact(answer.detail)
      return dataclasses.replace(answer, detail=detail)
    return answer

  def _send(
    self, snippet: Snippet, timeout_s: float, *, patience_s: float
  ) -> Answer | Verdict:
    identity = secrets.token_hex(8)
    body = {
      "snippets": [{"id": identity, "code": snippet.code}],
      "timeout": math.ceil(timeout_s),
      "reuse": True,
    }
    return self._line.ask(
      _PATH,
      body,
      functools.partial(_read, snippet, identity, self._version),
      timeout_s=2 * timeout_s + _SERVER_WAIT_S,
      patience_s=patience_s,
    )


def make_server_backend(settings: CheckerSettings) -> Backend:
  """The backend `server`.

  Raises:
    UsageError: servers that cannot be used, differ, or are all down.
  """
  if isinstance(settings.urls, str):
    raise UsageError(
      f"checker.urls is the text {settings.urls!r}; name the servers as in "
      "('http://lean-1:8000',)"
    )
  key = os.environ.get(KEY_VARIABLE, "")
  fleet = Fleet(settings.urls, key)
  version = _common_version(
    {url: _version_at(url, key) for url in settings.urls}
  )
  return Backend(
    name="server",
    toolchain=f"Kimina Lean Server, Lean {version}",
    isolation="remote",
    start=functools.partial(ServerWorker, fleet, version),
  )


def read_result(result: Mapping[str, Any]) -> Reply | Verdict | None:
  """The reply in a server's result, or the verdict on its absence.

  Reads the results of `/api/check` and of the older `/verify`, which differ in
  fields that do not matter here.

  Returns:
    None if it is neither.

  Raises:
    WorkerFailure: the reply is none of a REPL.
  """
  error, response = result.get("error"), result.get("response")
  if error is not None:
    return _failure(str(error))
  if not isinstance(response, dict):
    return None
  fields = {
    name: value
    for name, value in response.items()
    if value is not None and name != "time"
  }
  return parse_reply({"env": 0, **fields})


def _read(
  snippet: Snippet, identity: str, version: str, code: int, value: Any
) -> Answer | Verdict:
  """What a server's JSON says of a snippet.

  Raises:
    Unfit: it says nothing of it, or the server runs another Lean.
  """
  if code == 500:
    verdict = _failure(words(value))
    if verdict is None or verdict.status not in _ENDS:
      raise Unfit(f"500: {words(value)}")
    return verdict
  match value:
    case {"results": [{"id": str(named), **result}]} if named == identity:
      pass
    case _:
      raise Unfit(f"not the result that was asked for: {str(value)[:200]}")
  try:
    reply = read_result(result)
  except WorkerFailure as failure:
    return Verdict(failure.status, detail=failure.detail)
  if reply is None:
    raise Unfit(f"neither reply nor verdict: {str(result)[:200]}")
  if isinstance(reply, Verdict):
    return reply
  answer = locate(snippet, reply)
  if answer is None:
    said = "; ".join(message.text for message in reply.messages)
    detail = f"the imports do not load: {said or 'no version of Lean'}"
    return Verdict(Status.INFRA_ERROR, detail=detail)
  if version and answer.version != version:
    raise Unfit(
      f"it runs Lean {answer.version}, the others {version}", is_lasting=True
    )
  return answer


def _failure(error: str) -> Verdict | None:
  """The verdict on a text of which a server says this, if it is known."""
  for pattern, status in _CAUSES:
    if re.search(pattern, error, re.IGNORECASE):
      return Verdict(status, detail=f"the server says: {error}")
  return None


def _version_at(url: str, key: str) -> str:
  """Which Lean runs there; "" if nobody answers.

  Raises:
    UsageError: somebody answers who cannot be used.
  """
  checker = ServerWorker(Fleet((url,), key), "")
  try:
    return checker.ask_version()
  except NoServer as failure:
    if failure.is_lasting:
      raise UsageError(f"checker.urls: {failure}") from failure
    _log.warning("%s", failure)
    return ""
  finally:
    checker.close()


def _common_version(versions: Mapping[str, str]) -> str:
  found = {url: version for url, version in versions.items() if version}
  if not found:
    raise UsageError(
      f"checker.urls: none of {', '.join(versions)} answers; start a Kimina "
      "Lean Server there, or name one that runs"
    )
  if len(set(found.values())) > 1:
    pairs = ", ".join(f"{url} runs {version}" for url, version in found.items())
    raise UsageError(
      f"checker.urls name servers of different Lean ({pairs}); verdicts would "
      "depend on who answers: name servers of one version"
    )
  return next(iter(found.values()))
