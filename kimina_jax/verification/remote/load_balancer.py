"""Load balancer: chooses among equivalent servers.

In: the servers' URLs. Out: for each request a server that is up and has the
fewest requests in progress. A server that fails is not used for a while, longer
after each failure (exponential backoff), and must then pass a health check by a
single caller before all use it again. It opens no connection. The bearer key
goes into request headers only: no message and no line of the log holds it, even
if a server repeats it.
"""

import dataclasses
import logging
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Sequence

from kimina_jax.types import UsageError

KEY_VARIABLE = "KIMINA_JAX_SERVER_KEY"

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 60.0
_MAX_TEXT_CHARS = 500
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]*")

_log = logging.getLogger(__name__)


class ServerError(Exception):
  """A server failed to serve a request. The message says how.

  Attributes:
    is_permanent: whether the settings are wrong, so that waiting does not help.
  """

  def __init__(self, reason: str, *, is_permanent: bool = False):
    super().__init__(reason)
    self.is_permanent = is_permanent


class NoServerError(ServerError):
  """No server answered. The message gives the reason for each."""


@dataclasses.dataclass(eq=False)
class ServerState:
  """One server: its URL, its requests in progress and its failures.

  Only the load balancer changes it.

  Attributes:
    url: the root of the server.
    num_busy: requests in progress.
    num_failures: failures in a row.
    ready_s: when it may be used again, by time.monotonic.
    reason: of the last failure.
    is_permanent: as in ServerError.
  """

  url: str
  num_busy: int = 0
  num_failures: int = 0
  ready_s: float = 0.0
  reason: str = "not used yet"
  is_permanent: bool = False


@dataclasses.dataclass(frozen=True)
class ServerLease:
  """The use of a server for one request.

  Attributes:
    server: to send the request to.
    num_failures: of the server when the lease was made.
  """

  server: ServerState
  num_failures: int


class LoadBalancer:
  """Owns the state of all servers; any thread may call it."""

  def __init__(self, urls: Sequence[str], key: str):
    """A load balancer that takes all servers to be up.

    Args:
      urls: the roots of the servers.
      key: the bearer key; "" for none.

    Raises:
      UsageError: a malformed URL or key.
    """
    if not _KEY.fullmatch(key):
      raise UsageError(
        f"{KEY_VARIABLE} holds characters that no bearer key has; set it to "
        "letters, digits and -._~+/= without spaces or line breaks"
      )
    self._servers = [ServerState(_check_url(url, key)) for url in urls]
    self._key = key
    self._lock = threading.Lock()

  def headers(self) -> dict[str, str]:
    """The headers of every request."""
    headers = {"Content-Type": "application/json"}
    if self._key:
      headers["Authorization"] = f"Bearer {self._key}"
    return headers

  def redact(self, text: str) -> str:
    """A text of a server, shortened and without the key, for logs."""
    text = text.replace(self._key, "<key>") if self._key else text
    return text[:_MAX_TEXT_CHARS]

  def acquire(self, current: ServerState | None) -> ServerLease | None:
    """A lease of the least busy server; None if no server is ready.

    Args:
      current: the server to prefer among equals.
    """
    now_s = time.monotonic()
    with self._lock:
      ready = [
        server
        for server in self._servers
        # A server that has failed gets one request at a time.
        if server.ready_s <= now_s
        and not (server.num_failures and server.num_busy)
      ]
      if not ready:
        return None
      server = min(
        ready, key=lambda s: (not s.num_failures, s.num_busy, s is not current)
      )
      server.num_busy += 1
      return ServerLease(server, server.num_failures)

  def release(self, lease: ServerLease, failure: Exception | None) -> None:
    """Ends a lease; after a failure the server is not used for a while."""
    server = lease.server
    with self._lock:
      server.num_busy -= 1
      if failure is None:
        server.num_failures, server.ready_s = 0, 0.0
        news = f"{server.url} is back" if lease.num_failures else ""
      else:
        server.reason = self.redact(str(failure) or type(failure).__name__)
        server.is_permanent = getattr(failure, "is_permanent", False)
        news = self._pause(lease)
    if news:
      _log.warning("%s", news)

  def no_server_error(self) -> NoServerError:
    """The error that says why no server answered, to be raised."""
    with self._lock:
      reasons = "; ".join(f"{s.url}: {s.reason}" for s in self._servers)
      is_permanent = all(server.is_permanent for server in self._servers)
    return NoServerError(
      f"no server answers: {reasons}", is_permanent=is_permanent
    )

  def _pause(self, lease: ServerLease) -> str:
    """Pauses a server; returns a line for the log, "" if it is paused already.

    Requests that fail at the same time count as one failure.
    """
    server = lease.server
    if server.num_failures != lease.num_failures:
      return ""
    doublings = min(server.num_failures, 16)
    server.num_failures += 1
    pause_s = min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S)
    # Random, so that several callers do not return at the same moment.
    pause_s *= random.uniform(0.5, 1.0)
    server.ready_s = time.monotonic() + pause_s
    return f"{server.url}: {server.reason}; next try in {pause_s:.1f} s"


def _check_url(url: str, key: str) -> str:
  parts = urllib.parse.urlsplit(url)
  if "@" in parts.netloc:
    host = parts.netloc.rpartition("@")[2]
    raise UsageError(
      f"checker.urls holds a password for {host!r}; leave it out and set "
      f"{KEY_VARIABLE} in the environment"
    )
  try:
    is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
    is_right &= parts.port != 0 and not parts.query and not parts.fragment
  except ValueError:  # the port is not a number
    is_right = False
  if not is_right:
    raise UsageError(
      f"checker.urls holds {url!r}; a URL looks like 'http://lean-1:8000'"
    )
  host = parts.hostname or ""
  if key and parts.scheme == "http" and not _is_local(host):
    _log.warning("the key is sent unencrypted to %s; use https", host)
  return url


def _is_local(host: str) -> bool:
  return host in ("localhost", "::1") or host.startswith("127.")
