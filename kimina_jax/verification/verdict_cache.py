"""Verdicts that outlive a run, on disk.

In: a key and a verdict that the same key always gets. Out: the verdict, another
day. A key is a digest of everything that the verdict follows from. Never holds
a verdict that depends on the weather: timeouts, crashes, failures.
"""

import dataclasses
import hashlib
import json
import pathlib
import sqlite3
import threading

from kimina_jax.types import Status, UsageError, Verdict

# Verdicts that the same text always gets.
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

# Of the keys and of what is written; a file of another one is left alone.
_FORMAT = 1
_BUSY_TIMEOUT_S = 30.0


def digest(*parts: str) -> str:
  """One key for several texts, none of which can pass for two."""
  lengths = ",".join([str(len(part)) for part in parts])
  text = "\n".join((lengths, *parts))
  # Lone surrogates are no Lean, but they are a text that has a verdict.
  return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class VerdictCache:
  """Owns the file; several processes of a machine may share it."""

  def __init__(self, path: str):
    """Opens the file, or makes it.

    Raises:
      UsageError: it cannot be written, or is something else.
    """
    self._lock = threading.Lock()
    try:
      pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
      self._file = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
      )
      self._open(path)
    except (sqlite3.Error, OSError) as error:
      raise UsageError(
        f"checker.verdict_cache {path!r} cannot be used ({error}); name a file "
        "that this program may make, or '' to keep no verdicts"
      ) from error

  def get(self, key: str) -> Verdict | None:
    """The verdict, without times: nothing was waited for."""
    with self._lock:
      row = self._file.execute(
        "select verdict from verdicts where key = ?", (key,)
      ).fetchone()
    return None if row is None else Verdict.from_json(json.loads(row[0]))

  def put(self, key: str, verdict: Verdict) -> None:
    """Keeps a verdict.

    Raises:
      ValueError: its status is not in DETERMINISTIC.
    """
    if verdict.status not in DETERMINISTIC:
      raise ValueError(f"{verdict.status} may be another one tomorrow")
    with self._lock:
      self._file.execute(
        "insert or replace into verdicts values (?, ?)", (key, _encode(verdict))
      )

  def close(self) -> None:
    with self._lock:
      self._file.close()

  def _open(self, path: str) -> None:
    # A crash may lose the last verdicts, never the file.
    self._file.execute("pragma journal_mode = wal")
    self._file.execute("pragma synchronous = normal")
    self._file.execute(
      "create table if not exists verdicts (key text primary key, verdict text)"
    )
    (found,) = self._file.execute("pragma user_version").fetchone()
    if found not in (0, _FORMAT):
      self._file.close()
      raise UsageError(
        f"checker.verdict_cache {path!r} is of format {found}, this program "
        f"writes {_FORMAT}; name another file"
      )
    self._file.execute(f"pragma user_version = {_FORMAT}")


def _encode(verdict: Verdict) -> str:
  # Nothing is waited for when it comes from here.
  verdict = dataclasses.replace(verdict, queue_s=0.0, load_s=0.0, exec_s=0.0)
  return json.dumps(dataclasses.asdict(verdict))
