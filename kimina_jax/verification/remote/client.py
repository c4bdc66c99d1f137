"""HTTP client: posts JSON to a server of a load balancer.

In: a path and a JSON body. Out: the JSON of the answer. A request goes to one
server after the other until one answers. An answer that is incomplete, late or
not JSON is a failure of the server. Connections are kept alive and reopened
when the server has closed them; proxies and redirects are not followed.

Nothing in this module depends on Lean.
"""

import functools
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from kimina_jax.verification.remote.load_balancer import (
  KEY_VARIABLE,
  LoadBalancer,
  NoServerError,
  ServerError,
  ServerLease,
  ServerState,
)

_CONNECT_TIMEOUT_S = 10.0
_HEALTH_TIMEOUT_S = 10.0
_POLL_S = 0.05
# After so many failures of servers, the request itself may be the cause.
_MAX_SENT = 3
_MAX_ANSWER_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**16
_CONNECT_FAILURES = (
  urllib3.exceptions.NewConnectionError,
  urllib3.exceptions.ConnectTimeoutError,
)
_FAILURES = (OSError, urllib3.exceptions.HTTPError, ServerError)
_NOT_KIMINA = "it is not a Kimina Lean Server of version 2"
# Statuses that do not change with time, and what is wrong.
_REMEDIES = {
  401: f"it needs another key in {KEY_VARIABLE}",
  403: f"it needs another key in {KEY_VARIABLE}",
  404: _NOT_KIMINA,
  405: _NOT_KIMINA,
  422: _NOT_KIMINA,
}
_BUSY = "all its REPLs are busy; give it more, or lower checker.num_workers"

_Result = TypeVar("_Result")


class AnswerTooLarge(Exception):
  """An answer has more bytes than the client reads."""


class _Connection(HTTPConnection):
  """A connection that reports its socket when it is connected."""

  def __init__(
    self,
    *args: Any,
    on_connect: Callable[[socket.socket], None],
    **options: Any,
  ):
    super().__init__(*args, **options)
    self._on_connect = on_connect

  def connect(self) -> None:
    super().connect()
    self._on_connect(self.sock)


class _SecureConnection(_Connection, HTTPSConnection):
  """As _Connection, with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
  ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
  ConnectionCls = _SecureConnection


class ServerClient:
  """Owns one connection, to one server at a time."""

  def __init__(self, balancer: LoadBalancer):
    """Opens no connection yet."""
    self._balancer = balancer
    self._server: ServerState | None = None
    self._pool: urllib3.HTTPConnectionPool | None = None
    self._socket: socket.socket | None = None
    self._num_connects = 0
    self._num_sent = 0
    self._killed = threading.Event()

  def post(
    self,
    path: str,
    body: Mapping[str, Any],
    read: Callable[[int, Any], _Result],
    *,
    timeout_s: float,
    patience_s: float,
  ) -> _Result:
    """Posts a request until a server answers it.

    Args:
      path: on the server.
      body: the request, as JSON.
      read: makes the result of status 200 or 500 and the JSON of the answer;
        raises ServerError if another server is to be tried.
      timeout_s: for the answer of one server.
      patience_s: how long to try further servers while none is ready or all
        fail.

    Raises:
      NoServerError: no server answered, or the client was killed.
      AnswerTooLarge: the answer was not read to its end.
    """
    data = json.dumps(body, ensure_ascii=False).encode()
    deadline = time.monotonic() + patience_s
    self._num_sent = 0
    while not self._killed.is_set() and self._num_sent < _MAX_SENT:
      lease = self._balancer.acquire(self._server)
      failure: Exception | None = None
      try:
        if lease is not None:
          return self._use_lease(lease, path, data, read, timeout_s)
      except _FAILURES as error:
        # A killed connection is not a failure of the server.
        failure = None if self._killed.is_set() else error
      finally:
        if lease is not None:
          self._balancer.release(lease, failure)
      if time.monotonic() >= deadline:
        break
      self._killed.wait(0.0 if lease else _POLL_S)
    if self._killed.is_set():
      raise NoServerError("the connection was ended from here")
    raise self._balancer.no_server_error()

  def kill(self) -> None:
    """Ends the request in progress, and all later ones; any thread may call."""
    self._killed.set()
    connected = self._socket
    if connected is not None:
      try:
        connected.shutdown(socket.SHUT_RDWR)
      except OSError:
        pass  # it is closed already

  def close(self) -> None:
    """Closes the connection."""
    pool, self._pool, self._socket = self._pool, None, None
    if pool is not None:
      pool.close()

  def _use_lease(
    self,
    lease: ServerLease,
    path: str,
    data: bytes,
    read: Callable[[int, Any], _Result],
    timeout_s: float,
  ) -> _Result:
    if lease.num_failures:
      code, value = self._exchange(
        lease.server, "/health", None, _HEALTH_TIMEOUT_S
      )
      if code != 200 or value != {"status": "ok"}:
        raise ServerError(f"unhealthy: {code} {error_text(value)}")
    return read(*self._exchange(lease.server, path, data, timeout_s))

  def _exchange(
    self, server: ServerState, path: str, data: bytes | None, timeout_s: float
  ) -> tuple[int, Any]:
    """Status and JSON of the answer to a GET, or with data to a POST."""
    deadline = time.monotonic() + timeout_s
    pool = self._pool_of(server)
    num_connects = self._num_connects
    try:
      return self._round_trip(pool, server, path, data, deadline)
    except urllib3.exceptions.ProtocolError:
      if self._num_connects > num_connects or self._killed.is_set():
        raise
    # The server closed a connection that was idle; that is not a failure.
    return self._round_trip(self._pool_of(server), server, path, data, deadline)

  def _pool_of(self, server: ServerState) -> urllib3.HTTPConnectionPool:
    """A pool of one connection to a server; the former one is closed."""
    if self._pool is None or self._server is not server:
      self.close()
      parts = urllib.parse.urlsplit(server.url)
      host = parts.hostname or ""
      options: dict[str, Any] = {"on_connect": self._connected, "maxsize": 1}
      self._pool = (
        _SecurePool(host, parts.port, ssl_context=_tls(), **options)
        if parts.scheme == "https"
        else _Pool(host, parts.port, **options)
      )
      self._server = server
    return self._pool

  def _connected(self, connected: socket.socket) -> None:
    self._socket = connected
    self._num_connects += 1
    if self._killed.is_set():
      raise ConnectionAbortedError("ended from here")

  def _round_trip(
    self,
    pool: urllib3.HTTPConnectionPool,
    server: ServerState,
    path: str,
    data: bytes | None,
    deadline: float,
  ) -> tuple[int, Any]:
    """One request and its answer; a failure closes the connection."""
    root = urllib.parse.urlsplit(server.url).path.rstrip("/")
    is_complete = False
    was_sent = data is not None
    try:
      response = pool.urlopen(
        "GET" if data is None else "POST",
        root + path,
        body=data,
        headers=self._balancer.headers(),
        retries=False,
        redirect=False,
        timeout=urllib3.Timeout(
          connect=_CONNECT_TIMEOUT_S, read=_seconds_left(deadline)
        ),
        preload_content=False,
        decode_content=False,
      )
      answer = self._read(response, deadline)
      is_complete = True
    except _CONNECT_FAILURES as error:
      was_sent = False
      raise ServerError(str(error.__cause__ or error)) from error
    finally:
      self._num_sent += was_sent
      if not is_complete:
        self.close()
    return response.status, _decode(response, answer)

  def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The bytes of an answer, each read of the socket within the deadline."""
    answer = bytearray()
    while True:
      if self._socket is not None and self._socket.fileno() >= 0:
        self._socket.settimeout(_seconds_left(deadline))
      # read1 reads the socket once, so that the deadline is checked even if the
      # bytes arrive one by one.
      chunk = response.read1(_CHUNK_BYTES)
      if not chunk:
        response.release_conn()
        return bytes(answer)
      answer += chunk
      if len(answer) > _MAX_ANSWER_BYTES:
        raise AnswerTooLarge(
          f"an answer of more than {_MAX_ANSWER_BYTES} bytes"
        )


def error_text(value: Any) -> str:
  """The text of an error in a server's JSON."""
  if isinstance(value, dict):
    value = value.get("detail", value)
  return str(value)


def _seconds_left(deadline: float) -> float:
  left_s = deadline - time.monotonic()
  if left_s <= 0:
    raise TimeoutError("no answer in time")
  return left_s


@functools.cache
def _tls() -> ssl.SSLContext:
  return ssl.create_default_context()


def _decode(response: urllib3.BaseHTTPResponse, answer: bytes) -> Any:
  """The JSON of status 200 or 500.

  Raises:
    ServerError: any other status, or no JSON.
  """
  code = response.status
  try:
    value = json.loads(answer)
  except (ValueError, RecursionError):
    value = answer.decode(errors="replace")
    if code == 200:
      raise ServerError(f"an answer that is not JSON: {value!r}") from None
  if code in (200, 500):
    return value
  if code in _REMEDIES:
    reason = f"{code} {error_text(value)}: {_REMEDIES[code]}"
    raise ServerError(reason, is_permanent=True)
  if 300 <= code < 400:
    target = response.headers.get("Location", "another place")
    raise ServerError(
      f"{code}: it redirects to {target}; name that", is_permanent=True
    )
  if code == 429:
    raise ServerError(f"{code} {error_text(value)}: {_BUSY}")
  raise ServerError(f"{code} {response.reason}: {error_text(value)}")
