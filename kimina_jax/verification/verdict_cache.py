"""Verdict cache: verdicts on disk, kept from one run to the next.

In: a key, and a verdict that the same key always gets. Out: the verdict, in
this run or a later one. A key is a digest of everything that the verdict
depends on. Verdicts that may differ the next time (timeouts, crashes,
infrastructure errors) are never stored.
"""

import dataclasses
import hashlib
import json
import pathlib
import sqlite3
import threading

from kimina_jax.types import Status, UsageError, Verdict

# Statuses that the same text always gets.
DETERMINISTIC = frozenset(
  (
    Status.PROVED,
    Status.LEAN_ERROR,
    Status.HAS_SORRY,
    Status.DISALLOWED_AXIOM,
    Status.STATEMENT_MISMATCH,
    Status.MISSING_THEOREM,
    Status.FORBIDDEN_SYNTAX,
    Status.MALFORMED,
  )
)

# Version of the keys and of the stored JSON.
_FORMAT = 1
_BUSY_TIMEOUT_S = 30.0


def digest(*parts: str) -> str:
  """A key for a sequence of texts; different sequences have different keys."""
  lengths = ",".join([str(len(part)) for part in parts])
  text = "\n".join((lengths, *parts))
  # A text with lone surrogates is not Lean, but it too has a verdict.
  return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class VerdictCache:
  """A SQLite file; several processes of a machine may share it."""

  def __init__(self, path: str):
    """Opens the file, or creates it.

    Raises:
      UsageError: it cannot be written, or is something else.
    """
    self._lock = threading.Lock()
    try:
      pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
      self._database = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
      )
      try:
        self._prepare(path)
      except BaseException:
        self._database.close()
        raise
    except (sqlite3.Error, OSError) as error:
      raise UsageError(
        f"checker.verdict_cache {path!r} cannot be used ({error}); name a file "
        "that this program may create, or '' to keep no verdicts"
      ) from error

  def get(self, key: str) -> Verdict | None:
    """The verdict of a key; its times are 0, as nothing was waited for."""
    with self._lock:
      row = self._database.execute(
        "select verdict from verdicts where key = ?", (key,)
      ).fetchone()
    return None if row is None else Verdict.from_json(json.loads(row[0]))

  def put(self, key: str, verdict: Verdict) -> None:
    """Stores a verdict.

    Raises:
      ValueError: its status is not in DETERMINISTIC.
    """
    if verdict.status not in DETERMINISTIC:
      raise ValueError(f"{verdict.status} may differ the next time")
    with self._lock:
      self._database.execute(
        "insert or replace into verdicts values (?, ?)", (key, _encode(verdict))
      )

  def close(self) -> None:
    """Closes the file."""
    with self._lock:
      self._database.close()

  def _prepare(self, path: str) -> None:
    """Creates the table, and checks that the file has this format."""
    # A crash may lose the last verdicts, never the file.
    self._database.execute("pragma journal_mode = wal")
    self._database.execute("pragma synchronous = normal")
    self._database.execute(
      "create table if not exists verdicts (key text primary key, verdict text)"
    )
    (found,) = self._database.execute("pragma user_version").fetchone()
    if found not in (0, _FORMAT):
      raise UsageError(
        f"checker.verdict_cache {path!r} has format {found}, this program "
        f"writes format {_FORMAT}; name another file"
      )
    self._database.execute(f"pragma user_version = {_FORMAT}")


def _encode(verdict: Verdict) -> str:
  verdict = dataclasses.replace(verdict, queue_s=0.0, load_s=0.0, exec_s=0.0)
  return json.dumps(dataclasses.asdict(verdict))
