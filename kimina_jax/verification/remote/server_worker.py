"""Server worker: sends a proof's audit to Lean on a server, over HTTP.

In: an audit. Out: its verdict. The servers are Kimina Lean Servers. The audit
is the same as of a local worker, sent as one text (see snippet.py). Nonce and
seal are drawn after the proof's text is fixed, and the messages that come back
are assigned to the three commands by their lines, so that `audit.judge_replies`
gets the same three replies.

Three guarantees of a local process are missing: that the seal is out of the
proof's reach, that environments are counted, and that no other client has used
the process before. docs/verification.md weighs them.

The servers are trusted: a program that answers in the place of one decides what
is proved.
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
from kimina_jax.verification.remote.client import (
  AnswerTooLarge,
  ServerClient,
  error_text,
)
from kimina_jax.verification.remote.load_balancer import (
  KEY_VARIABLE,
  LoadBalancer,
  NoServerError,
  ServerError,
)
from kimina_jax.verification.remote.snippet import (
  Snippet,
  SnippetReply,
  align_lines,
  compose_audit,
  make_snippet,
  split_reply,
)
from kimina_jax.verification.replies import Reply
from kimina_jax.verification.settings import CheckerSettings

_log = logging.getLogger(__name__)

_PATH = "/api/check"
# A server may queue a text before it starts, and import before it checks.
_SERVER_WAIT_S = 120.0
_START_TIMEOUT_S = 120.0
_IMPORT_LINE = re.compile(r"(?:import \S+)?")
# Statuses by the error that a server gives instead of a reply; the first match
# counts.
_ERRORS = (
  ("header command timed out", Status.INFRA_ERROR),
  ("timed out", Status.TIMEOUT),
  ("out of memory|bad_alloc|memory limit", Status.OUT_OF_MEMORY),
  ("JSON decode error|from REPL stdout|crashed|REPL died", Status.CRASH),
)
# Statuses that the text itself may have caused if the server answers 500.
_CAUSED_BY_TEXT = (Status.OUT_OF_MEMORY, Status.CRASH)


class ServerWorker:
  """Runs one audit at a time on any server that is up; a backend.Worker."""

  def __init__(self, balancer: LoadBalancer, version: str):
    """Opens no connection yet.

    Args:
      balancer: chooses the servers.
      version: of Lean, which each server must run; "" for any.
    """
    self._balancer = balancer
    self._version = version
    self._client = ServerClient(balancer)
    self._imports: str | None = None
    # The server's process has checked other proofs, so it is never unused.
    self.num_uses = 1
    self.must_replace = False
    self.pid = 0

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Loads imports on a server; an INFRA_ERROR if that fails."""
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
      audit: of a proof.
      timeout_s: for Lean on the server; the server's queue and its imports get
        time of their own.
    """
    self.num_uses += 1
    # Random, and drawn after the text of the proof is fixed.
    nonce, seal = secrets.token_hex(8), secrets.token_hex(8)
    snippet = compose_audit(audit, nonce, seal)
    answer = self._ask(snippet, timeout_s=timeout_s)
    replies = (
      answer if isinstance(answer, Verdict) else split_reply(snippet, answer)
    )
    if isinstance(replies, Verdict):
      return dataclasses.replace(replies, notes=audit.notes)
    num_needed = 1
    while not is_decided(replies[:num_needed]):
      num_needed += 1
    verdict = judge_replies(audit, seal, replies[:num_needed])
    self.must_replace = verdict.status is Status.PROTOCOL_VIOLATION
    return verdict

  def query_version(self) -> str:
    """The version of Lean that a server runs.

    Raises:
      NoServerError: no server answers at the first try.
    """
    answer = self._send(make_snippet(""), _START_TIMEOUT_S, patience_s=0.0)
    if isinstance(answer, Verdict):
      raise NoServerError(self._balancer.redact(answer.detail))
    return answer.version

  def kill_for_memory(self) -> None:
    """As kill: the memory is the server's."""
    self.kill()

  def kill(self) -> None:
    """Ends the request in progress; any thread may call it."""
    self._client.kill()

  def close(self) -> None:
    """Closes the connection."""
    self._client.close()

  def _ask(
    self, snippet: Snippet, *, timeout_s: float
  ) -> SnippetReply | Verdict:
    """The reply to a snippet, or the verdict if there is none."""
    try:
      answer = self._send(snippet, timeout_s, patience_s=timeout_s)
    except NoServerError as failure:
      answer = Verdict(Status.INFRA_ERROR, detail=str(failure))
    except AnswerTooLarge as failure:
      answer = Verdict(Status.PROTOCOL_VIOLATION, detail=str(failure))
    if isinstance(answer, Verdict):
      # A server that reports a timeout has replaced its process.
      self.must_replace = answer.status is not Status.TIMEOUT
      detail = self._balancer.redact(answer.detail)
      return dataclasses.replace(answer, detail=detail)
    return answer

  def _send(
    self, snippet: Snippet, timeout_s: float, *, patience_s: float
  ) -> SnippetReply | Verdict:
    identity = secrets.token_hex(8)
    body = {
      "snippets": [{"id": identity, "code": snippet.code}],
      "timeout": math.ceil(timeout_s),
      "reuse": True,
    }
    return self._client.post(
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
  balancer = LoadBalancer(settings.urls, key)
  version = _common_version(
    {url: _version_at(url, key) for url in settings.urls}
  )

  def start() -> ServerWorker:
    return ServerWorker(balancer, version)

  return Backend(
    name="server",
    toolchain=f"Kimina Lean Server, Lean {version}",
    isolation="remote",
    start=start,
  )


def read_result(result: Mapping[str, Any]) -> Reply | Verdict | None:
  """The reply in a server's result, or the verdict if there is none.

  Reads the results of `/api/check` and of the older `/verify`, which differ in
  fields that are not used here.

  Returns:
    None if the result holds neither a reply nor a known error.

  Raises:
    WorkerFailure: the reply is not one of a REPL.
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
) -> SnippetReply | Verdict:
  """The reply or verdict in a server's answer to a snippet.

  Raises:
    ServerError: the answer holds neither, or the server runs another Lean.
  """
  if code == 500:
    verdict = _failure(error_text(value))
    if verdict is None or verdict.status not in _CAUSED_BY_TEXT:
      raise ServerError(f"500: {error_text(value)}")
    return verdict
  match value:
    case {"results": [{"id": str(named), **rest}]} if named == identity:
      result = {str(name): field for name, field in rest.items()}
    case _:
      raise ServerError(
        f"not the result that was asked for: {str(value)[:200]}"
      )
  try:
    reply = read_result(result)
  except WorkerFailure as failure:
    return Verdict(failure.status, detail=failure.detail)
  if reply is None:
    raise ServerError(f"neither reply nor verdict: {str(result)[:200]}")
  if isinstance(reply, Verdict):
    return reply
  answer = align_lines(snippet, reply)
  if answer is None:
    texts = "; ".join(message.text for message in reply.messages)
    detail = f"the imports do not load: {texts or 'no version of Lean'}"
    return Verdict(Status.INFRA_ERROR, detail=detail)
  if version and answer.version != version:
    raise ServerError(
      f"it runs Lean {answer.version}, the others {version}", is_permanent=True
    )
  return answer


def _failure(error: str) -> Verdict | None:
  """The verdict that an error of a server stands for, if it is known."""
  for pattern, status in _ERRORS:
    if re.search(pattern, error, re.IGNORECASE):
      return Verdict(status, detail=f"the server reports: {error}")
  return None


def _version_at(url: str, key: str) -> str:
  """The version of Lean that a server runs; "" if it does not answer.

  Raises:
    UsageError: the server answers, and cannot be used.
  """
  worker = ServerWorker(LoadBalancer((url,), key), "")
  try:
    return worker.query_version()
  except NoServerError as failure:
    if failure.is_permanent:
      raise UsageError(f"checker.urls: {failure}") from failure
    _log.warning("%s", failure)
    return ""
  finally:
    worker.close()


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
      "depend on the server: name servers of one version"
    )
  return next(iter(found.values()))
