"""Heartbeats between the processes of a job: a lost process ends all of them.

In: the key-value store of JAX's coordination service, which process 0 hosts.
Out: the end of every process within seconds, with the reason in one line, when
one fails or is lost; and each signal that one of them received, passed on to
the others. A thread of each process writes a heartbeat and reads the keys of
the others once a second, as the main thread may be in a collective that never
completes.

JAX's own heartbeats do not suffice: they detect a loss only after a minute or
so, they report no reason, and they end a process by SIGABRT with pages of C++
stack. When process 0, and so the store, is gone, JAX aborts the process at
once; the handler of SIGABRT below prints one line instead. Never touches a
device.
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

# A busy machine delays a heartbeat by seconds; JAX ends the job after a minute.
LOST_S = 20.0
_PERIOD_S = 1.0
# Process 0 hosts the store: before it ends, the others get time to read it.
_LINGER_S = 3 * _PERIOD_S

_ROOT = "kimina_jax/"
_BEAT = _ROOT + "beat/"
_STOP = _ROOT + "stop"
_FAILED = _ROOT + "failed"
_AGAIN = "Run the same command again: it resumes from the newest checkpoint."


class KeyValueStore(Protocol):
  """The methods of JAX's coordination service that are used here."""

  def key_value_set(
    self, key: str, value: str, allow_overwrite: bool = False
  ) -> None: ...

  def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...


class HeartbeatMonitor:
  """Owns the thread that exchanges heartbeats with the other processes."""

  def __init__(
    self, store: KeyValueStore, *, process_id: int, num_processes: int
  ):
    """Starts the thread; all processes have connected before.

    Args:
      store: shared by all processes.
      process_id: of this process.
      num_processes: of the job.
    """
    self._store = store
    self._process_id = process_id
    self._signal_name = ""
    now_s = time.monotonic()
    # Last heartbeat of each process, and when it was first seen.
    self._seen = dict.fromkeys(range(num_processes), ("", now_s))
    self._num_beats = 0
    self._closed = threading.Event()
    self._leaving = threading.Lock()
    self._on_abort = _call_on_abort(self._end_without_store)
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def send_signal(self, signal_name: str) -> None:
    """Forwards a signal to the other processes, within a second."""
    self._signal_name = signal_name

  def fail(self, message: str, *, code: int = 1) -> NoReturn:
    """Ends all processes; only the first that fails prints its message."""
    with self._leaving:
      if self._is_first_to_fail():
        print(message, file=sys.stderr, flush=True)
    self._leave(code)

  def close(self) -> None:
    """Stops the thread; to be called when no process has work left."""
    self._closed.set()
    self._thread.join()

  def _run(self) -> None:
    while not self._closed.wait(_PERIOD_S):
      try:
        self._exchange()
      except JaxRuntimeError:
        self._end_without_store()

  def _exchange(self) -> None:
    """Writes a heartbeat, reads the others', and ends if one is missing."""
    self._num_beats += 1
    beat = f"{_BEAT}{self._process_id}"
    self._store.key_value_set(beat, str(self._num_beats), allow_overwrite=True)
    if self._signal_name:
      self._store.key_value_set(_STOP, self._signal_name, allow_overwrite=True)
    found = dict(self._store.key_value_dir_get(_ROOT))
    if _FAILED in found:
      self._leave(1)
    if _STOP in found:
      interruption.record_elsewhere(found[_STOP])
    now_s = time.monotonic()
    for process, (last, since_s) in self._seen.items():
      beat = found.get(f"{_BEAT}{process}", "")
      if beat != last:
        self._seen[process] = (beat, now_s)
      elif now_s - since_s > LOST_S:
        self.fail(
          f"error: process {process} is lost: no heartbeat for "
          f"{LOST_S:.0f} s. {_AGAIN}"
        )

  def _is_first_to_fail(self) -> bool:
    try:
      self._store.key_value_set(_FAILED, str(self._process_id))
    except JaxRuntimeError:  # the key exists
      return False
    return True

  def _end_without_store(self) -> NoReturn:
    """Ends the process when the store, and with it process 0, is lost."""
    message = f"error: process 0 is lost: its store is gone. {_AGAIN}"
    print(message, file=sys.stderr, flush=True)
    os._exit(1)

  def _leave(self, code: int) -> NoReturn:
    """Ends the process at once: other threads may be blocked forever."""
    with self._leaving:
      sys.stdout.flush()
      if self._process_id == 0:
        time.sleep(_LINGER_S)
      os._exit(code)


def _call_on_abort(callback: Callable[[], None]) -> object:
  """Sets a handler of SIGABRT, for as long as the returned object is kept.

  Handlers of Python's signal module run in the main thread, which may never
  come to it; this one, by way of ctypes, runs in the thread that aborts, which
  is one of JAX's.
  """
  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda signum: callback())
  ctypes.CDLL(None).signal(signal.SIGABRT, handler)
  return handler
