"""Servers that can stand in for each other: which one to ask next.

URLs go in; out comes, whenever somebody has a question, a server that is up and
not busier than the others. One that fails is left alone for a while, longer
each time, and must then call itself healthy to a single caller before all ask
it again. It connects to nothing, and the key goes into request headers and
nowhere else: no message and no log line holds it, even where a server repeats
it.
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
_MAX_WORDS = 500
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]*")

_log = logging.getLogger(__name__)


class Unfit(Exception):
  """A server that does not do its work. The message says how.

  Attributes:
    is_lasting: whether that is a matter of settings, so that waiting will not
      help.
  """

  def __init__(self, reason: str, *, is_lasting: bool = False):
    super().__init__(reason)
    self.is_lasting = is_lasting


class NoServer(Unfit):
  """Nobody answered. The message says why, server by server."""


@dataclasses.dataclass(eq=False)
class Server:
  """One URL and how it has behaved; changed by its fleet alone."""

  url: str
  num_busy: int = 0
  num_failures: int = 0  # in a row
  ready_s: float = 0.0  # when it may be asked again, by time.monotonic
  reason: str = "not asked yet"
  is_lasting: bool = False


@dataclasses.dataclass(frozen=True)
class Turn:
  """A server to be asked now, and how often it had failed before."""

  server: Server
  num_failures: int


class Fleet:
  """Owns what is known of the servers; any thread may call."""

  def __init__(self, urls: Sequence[str], key: str):
    """Takes note of the servers.

    Args:
      urls: of the servers' roots.
      key: the bearer key; "" for none.

    Raises:
      UsageError: a URL or key that cannot be one.
    """
    if not _KEY.fullmatch(key):
      raise UsageError(
        f"{KEY_VARIABLE} holds characters that no bearer key has; set it to "
        "letters, digits and -._~+/= without spaces or line breaks"
      )
    self._servers = [Server(_check_url(url, key)) for url in urls]
    self._key = key
    self._lock = threading.Lock()

  def headers(self) -> dict[str, str]:
    """Of every request."""
    headers = {"Content-Type": "application/json"}
    if self._key:
      headers["Authorization"] = f"Bearer {self._key}"
    return headers

  def redact(self, words: str) -> str:
    """Words of a server, fit to be written down."""
    words = words.replace(self._key, "<key>") if self._key else words
    return words[:_MAX_WORDS]

  def take(self, current: Server | None) -> Turn | None:
    """The server to ask now, to be given back; None if none is ready.

    Args:
      current: the one to prefer among equals.
    """
    now_s = time.monotonic()
    with self._lock:
      ready = [
        server
        for server in self._servers
        # One that has failed is tried by one caller alone.
        if server.ready_s <= now_s
        and not (server.num_failures and server.num_busy)
      ]
      if not ready:
        return None
      server = min(
        ready, key=lambda s: (not s.num_failures, s.num_busy, s is not current)
      )
      server.num_busy += 1
      return Turn(server, server.num_failures)

  def give_back(self, turn: Turn, failure: Exception | None) -> None:
    """Ends a turn; a failure has the server left alone for a while."""
    server = turn.server
    with self._lock:
      server.num_busy -= 1
      if failure is None:
        server.num_failures, server.ready_s = 0, 0.0
        news = f"{server.url} is back" if turn.num_failures else ""
      else:
        server.reason = self.redact(str(failure) or type(failure).__name__)
        server.is_lasting = getattr(failure, "is_lasting", False)
        news = self._pause(turn)
    if news:
      _log.warning("%s", news)

  def no_server(self) -> NoServer:
    """Why nobody answers, to be raised."""
    with self._lock:
      reasons = "; ".join(f"{s.url}: {s.reason}" for s in self._servers)
      is_lasting = all(server.is_lasting for server in self._servers)
    return NoServer(f"no server answers: {reasons}", is_lasting=is_lasting)

  def _pause(self, turn: Turn) -> str:
    """Leaves a server alone; the news of it, unless others said so before."""
    server = turn.server
    if server.num_failures != turn.num_failures:
      return ""
    doublings = min(server.num_failures, 16)
    server.num_failures += 1
    pause_s = min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S)
    # Not all who share a server shall come back at the same moment.
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
  except ValueError:  # the port is no number
    is_right = False
  if not is_right:
    raise UsageError(
      f"checker.urls holds {url!r}; a URL looks like 'http://lean-1:8000'"
    )
  if key and parts.scheme == "http" and not _is_here(parts.hostname):
    _log.warning("the key travels readably to %s; use https", parts.hostname)
  return url


def _is_here(host: str) -> bool:
  return host in ("localhost", "::1") or host.startswith("127.")
