"""The processes of a job keep an eye on each other.

In: the key-value store that process 0 keeps for the job. Out: an end within
seconds, with the reason in one line, when a process fails or is lost; and word
of a signal that reached only one of them. A thread of each process beats,
and reads what the others say, once a second: the main thread may sit in a
collective that will never complete.

JAX notices losses too: that of process 0 at once, others a little later than
this watch. It then aborts the process; the reason is added to its dump.
Never touches a device.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from jax.errors import JaxRuntimeError

from kimina_jax.infra import interruption

# A busy machine delays a beat by seconds, and a minute is all there is.
LOST_S = 20.0
_PERIOD_S = 1.0
# How long process 0, which keeps the store, stays for the others to read it.
_LINGER_S = 3 * _PERIOD_S

_ROOT = "kimina_jax/"
_BEAT = _ROOT + "beat/"
_STOP = _ROOT + "stop"
_FAILED = _ROOT + "failed"
_AGAIN = "Run the same command again: it goes on from the newest checkpoint."


class Store(Protocol):
  """What the watch asks of JAX's coordination service."""

  def key_value_set(
    self, key: str, value: str, allow_overwrite: bool = False
  ) -> None: ...

  def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...


class Watch:
  """Owns the thread that watches the other processes."""

  def __init__(self, store: Store, *, process_id: int, num_processes: int):
    """Starts to watch; all processes have connected by now."""
    self._store = store
    self._process_id = process_id
    self._stop_here = ""
    now_s = time.monotonic()
    self._seen = dict.fromkeys(range(num_processes), ("", now_s))
    self._num_beats = 0
    self._closed = threading.Event()
    self._leaving = threading.Lock()
    self._on_abort = _call_on_abort(self._lost_store)
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def ask_to_stop(self, reason: str) -> None:
    """Lets the others know, within a second, that this process is to end."""
    self._stop_here = reason

  def fail(self, message: str, *, code: int = 1) -> NoReturn:
    """Ends all processes; the first to fail says why."""
    with self._leaving:
      if self._is_first_to_fail():
        print(message, file=sys.stderr, flush=True)
    self._leave(code)

  def close(self) -> None:
    """Watches no longer; call it when no process has work left."""
    self._closed.set()
    self._thread.join()

  def _run(self) -> None:
    while not self._closed.wait(_PERIOD_S):
      try:
        self._look()
      except JaxRuntimeError:
        self._lost_store()

  def _look(self) -> None:
    """Beats once, and acts on what the others say."""
    self._num_beats += 1
    beat = f"{_BEAT}{self._process_id}"
    self._store.key_value_set(beat, str(self._num_beats), allow_overwrite=True)
    if self._stop_here:
      self._store.key_value_set(_STOP, self._stop_here, allow_overwrite=True)
    said = dict(self._store.key_value_dir_get(_ROOT))
    if _FAILED in said:
      self._leave(1)
    if _STOP in said:
      interruption.record_elsewhere(said[_STOP])
    now_s = time.monotonic()
    for process, (last, since_s) in self._seen.items():
      beat = said.get(f"{_BEAT}{process}", "")
      if beat != last:
        self._seen[process] = (beat, now_s)
      elif now_s - since_s > LOST_S:
        self.fail(
          f"error: process {process} is lost: no sign of life for "
          f"{LOST_S:.0f} s. {_AGAIN}"
        )

  def _is_first_to_fail(self) -> bool:
    try:
      self._store.key_value_set(_FAILED, str(self._process_id))
    except JaxRuntimeError:  # the key is there already
      return False
    return True

  def _lost_store(self) -> NoReturn:
    """Nobody can be asked or told any more."""
    message = f"error: process 0 is lost: its store is gone. {_AGAIN}"
    print(message, file=sys.stderr, flush=True)
    os._exit(1)

  def _leave(self, code: int) -> NoReturn:
    """Ends at once: what other threads wait for may never come."""
    with self._leaving:
      sys.stdout.flush()
      if self._process_id == 0:
        time.sleep(_LINGER_S)
      os._exit(code)


def _call_on_abort(callback: Callable[[], None]) -> object:
  """Calls back instead of an abort, as long as what is returned is kept.

  Python's own handlers run later, in the main thread, and so never; this one
  runs in the thread that aborts. That is one of JAX's, between two statements.
  """
  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda signum: callback())
  ctypes.CDLL(None).signal(signal.SIGABRT, handler)
  return handler
