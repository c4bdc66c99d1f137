"""A connection to servers over HTTP: a JSON body in, a JSON answer out.

A question goes to one server of a fleet after the other until somebody answers
it. An answer that stops halfway, comes too late or is no JSON is none. Idle
connections are kept, and replaced where the server has ended them.

It knows HTTP and nothing of Lean.
"""

import functools
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kimina_jax.verification.remote.fleet import (
  KEY_VARIABLE,
  Fleet,
  NoServer,
  Server,
  Turn,
  Unfit,
)

_CONNECT_S = 10.0
_HEALTH_S = 10.0
_POLL_S = 0.05
# A question that so many servers failed on may be what fails them.
_MAX_TRIES = 3
_MAX_ANSWER_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**16
_FAILURES = (OSError, http.client.HTTPException, Unfit)
_NOT_KIMINA = "it does not speak as a Kimina Lean Server of version 2 does"
# Answers that waiting does not change, and what would.
_REMEDIES = {
  401: f"it wants another key in {KEY_VARIABLE}",
  403: f"it wants another key in {KEY_VARIABLE}",
  404: _NOT_KIMINA,
  405: _NOT_KIMINA,
  422: _NOT_KIMINA,
}
_BUSY = "all its REPLs are busy; give it more, or lower checker.num_workers"

Found = TypeVar("Found")


class Oversized(Exception):
  """An answer larger than any that is read."""


class Line:
  """Owns one connection, to one server of the fleet at a time."""

  def __init__(self, fleet: Fleet):
    """Connects to nothing yet."""
    self._fleet = fleet
    self._server: Server | None = None
    self._connection: http.client.HTTPConnection | None = None
    self._socket: socket.socket | None = None
    self._num_sent = 0
    self._killed = threading.Event()

  def ask(
    self,
    path: str,
    body: Mapping[str, Any],
    read: Callable[[int, Any], Found],
    *,
    timeout_s: float,
    patience_s: float,
  ) -> Found:
    """Asks until somebody answers.

    Args:
      path: on the server.
      body: the question.
      read: what to make of status 200 or 500 and the JSON that came with it;
        raises Unfit if another server shall be asked.
      timeout_s: for one server's answer.
      patience_s: how long to go on asking while none is ready or others fail.

    Raises:
      NoServer: nobody answered, or the line was killed.
      Oversized: the answer is too large to be read.
    """
    data = json.dumps(body, ensure_ascii=False).encode()
    deadline = time.monotonic() + patience_s
    self._num_sent = 0
    while not self._killed.is_set() and self._num_sent < _MAX_TRIES:
      turn = self._fleet.take(self._server)
      failure = None
      try:
        if turn is not None:
          return self._take_turn(turn, path, data, read, timeout_s)
      except _FAILURES as error:
        # Ended from here, it says nothing of the server.
        failure = None if self._killed.is_set() else error
      finally:
        if turn is not None:
          self._fleet.give_back(turn, failure)
      if time.monotonic() >= deadline:
        break
      self._killed.wait(0.0 if turn else _POLL_S)
    if self._killed.is_set():
      raise NoServer("the connection was ended from here")
    raise self._fleet.no_server()

  def kill(self) -> None:
    """Ends the exchange in progress, and all later ones; from any thread."""
    self._killed.set()
    connected = self._socket
    if connected is not None:
      try:
        connected.shutdown(socket.SHUT_RDWR)
      except OSError:
        pass  # it has ended

  def close(self) -> None:
    """Frees the connection."""
    connection, self._connection, self._socket = self._connection, None, None
    if connection is not None:
      connection.close()

  def _take_turn(
    self,
    turn: Turn,
    path: str,
    data: bytes,
    read: Callable[[int, Any], Found],
    timeout_s: float,
  ) -> Found:
    if turn.num_failures:
      code, value = self._exchange(turn.server, "/health", None, _HEALTH_S)
      if code != 200 or value != {"status": "ok"}:
        raise Unfit(f"unhealthy: {code} {words(value)}")
    return read(*self._exchange(turn.server, path, data, timeout_s))

  def _exchange(
    self, server: Server, path: str, data: bytes | None, timeout_s: float
  ) -> tuple[int, Any]:
    """Status and JSON of the answer; posts if there are data."""
    deadline = time.monotonic() + timeout_s
    is_new = self._connect(server)
    try:
      return self._round_trip(path, data, deadline)
    except ConnectionError:
      if is_new or self._killed.is_set():
        raise
    # Servers end connections that stood idle; that is no failure of theirs.
    self._connect(server)
    return self._round_trip(path, data, deadline)

  def _connect(self, server: Server) -> bool:
    """Whether it made a new connection; else the present one will do."""
    if self._connection is not None and self._server is server:
      return False
    self.close()
    self._server = server
    parts = urllib.parse.urlsplit(server.url)
    if parts.scheme == "https":
      connection = http.client.HTTPSConnection(
        parts.hostname, parts.port, timeout=_CONNECT_S, context=_tls()
      )
    else:
      connection = http.client.HTTPConnection(
        parts.hostname, parts.port, timeout=_CONNECT_S
      )
    connection.connect()
    connection.auto_open = 0  # nothing but this method connects
    self._connection, self._socket = connection, connection.sock
    if self._killed.is_set():
      raise ConnectionAbortedError("ended from here")
    return True

  def _round_trip(
    self, path: str, data: bytes | None, deadline: float
  ) -> tuple[int, Any]:
    """One request and its answer; the connection ends if anything is odd."""
    root = urllib.parse.urlsplit(self._server.url).path.rstrip("/")
    method = "GET" if data is None else "POST"
    headers = self._fleet.headers()
    is_over = True
    try:
      self._end_at(deadline)
      self._connection.request(method, root + path, body=data, headers=headers)
      self._num_sent += data is not None
      response = self._connection.getresponse()
      answer = self._read_all(response, deadline)
      is_over = response.will_close
    finally:
      if is_over:
        self.close()
    return response.status, _decode(response, answer)

  def _read_all(
    self, response: http.client.HTTPResponse, deadline: float
  ) -> bytes:
    answer = bytearray()
    while True:
      self._end_at(deadline)
      chunk = response.read1(_CHUNK_BYTES)
      if not chunk:
        break
      answer += chunk
      if len(answer) > _MAX_ANSWER_BYTES:
        raise Oversized(f"an answer of more than {_MAX_ANSWER_BYTES} bytes")
    if response.length:
      raise http.client.IncompleteRead(bytes(answer), response.length)
    response.close()
    return bytes(answer)

  def _end_at(self, deadline: float) -> None:
    """Has what the socket does next end at the deadline."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
      raise TimeoutError("no answer in time")
    self._socket.settimeout(left_s)


def words(value: Any) -> str:
  """What a server says of an error."""
  if isinstance(value, dict):
    value = value.get("detail", value)
  return str(value)


@functools.cache
def _tls() -> ssl.SSLContext:
  return ssl.create_default_context()


def _decode(response: http.client.HTTPResponse, answer: bytes) -> Any:
  """The JSON of status 200 or 500.

  Raises:
    Unfit: any other status, or no JSON.
  """
  code = response.status
  try:
    value = json.loads(answer)
  except (ValueError, RecursionError):
    value = answer.decode(errors="replace")
    if code == 200:
      raise Unfit(f"an answer that is not JSON: {value!r}") from None
  if code in (200, 500):
    return value
  if code in _REMEDIES:
    reason = f"{code} {words(value)}: {_REMEDIES[code]}"
    raise Unfit(reason, is_lasting=True)
  if 300 <= code < 400:
    there = response.getheader("Location", "another place")
    raise Unfit(f"{code}: it redirects to {there}; name that", is_lasting=True)
  if code == 429:
    raise Unfit(f"{code} {words(value)}: {_BUSY}")
  raise Unfit(f"{code} {response.reason}: {words(value)}")
