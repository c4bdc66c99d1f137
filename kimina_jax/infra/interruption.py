"""SIGINT and SIGTERM: stops of a process where its state can be saved.

A cluster sends SIGTERM some seconds before it takes a machine away; Ctrl-C
sends SIGINT. A program has two phases:

- After `install()`, which cli.py calls before anything slow is imported, a
  signal ends the process at once: there is nothing to save yet. An exception
  would not do: JAX loses those that are raised in its callbacks, or crashes.
- After `defer()`, which a loop calls when it starts, a signal is recorded, and
  `check()` and `distributed.agree_to_stop()` raise Interrupted, where the state
  of the loop is complete.

A second signal has the system's default effect, which is to end the process.

In a job of several processes the signal may reach any of them, at any time.
They stop at the same place because only `agree_to_stop()` decides, in a
collective; `check()` merely lets a process go to the next one at once, without
the rest of its work. Python runs signal handlers in the main thread only, which
may be compiling or waiting in that collective; therefore a thread reads each
signal from a pipe, and ends the process or passes the signal on. Standard
library only: it is imported before all else.
"""

import os
import signal
import threading
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_received: list[signal.Signals] = []
_elsewhere = ""  # the signal that another process received
_is_deferred = False
_exit_now: Callable[[signal.Signals], None] | None = None
_forward: Callable[[str], None] | None = None
_pipe: tuple[int, int] | None = None


class Interrupted(Exception):
  """A signal requested the end; the message names it and what is saved.

  Attributes:
    is_resumable: whether the same command resumes from what is saved.
  """

  def __init__(self, message: str, *, is_resumable: bool = True):
    super().__init__(message)
    self.is_resumable = is_resumable


def install(exit_now: Callable[[signal.Signals], None]) -> None:
  """From now on a signal calls `exit_now`, which ends the process.

  Args:
    exit_now: called in a thread.
  """
  global _exit_now
  uninstall()
  _exit_now = exit_now
  _catch()
  _start_thread()


def defer() -> None:
  """From now on a signal is only recorded, for `check` and `agree_to_stop`."""
  global _is_deferred
  _is_deferred = True
  _catch()


def uninstall() -> None:
  """Restores the default signal handlers and clears received signals."""
  global _is_deferred, _elsewhere, _exit_now
  for signum in SIGNALS:
    signal.signal(signum, signal.SIG_DFL)
  _received.clear()
  _elsewhere = ""
  _is_deferred = False
  _exit_now = None


def reason() -> str:
  """Name of the signal received, by any process; "" if there was none."""
  return _received[0].name if _received else _elsewhere


def check() -> None:
  """Raises Interrupted if this or another process has received a signal."""
  if reason():
    raise Interrupted(reason())


def record_elsewhere(signal_name: str) -> None:
  """Records a signal that another process of the job has received."""
  global _elsewhere
  _elsewhere = signal_name


def forward_signals(send: Callable[[str], None]) -> None:
  """Calls `send` with the name of each deferred signal, in a thread."""
  global _forward
  _forward = send
  _start_thread()


def exit_code(signal_name: str) -> int:
  """128 plus the number of the signal, as shells count."""
  return 128 + signal.Signals[signal_name]


def _catch() -> None:
  if not _received:
    for signum in SIGNALS:
      signal.signal(signum, _handle)


def _handle(signum: int, frame: object) -> None:
  del frame
  _received.append(signal.Signals(signum))
  signal.signal(signum, signal.SIG_DFL)


def _start_thread() -> None:
  """Starts the thread that reads signals as bytes from a pipe, once."""
  global _pipe
  if _pipe is None:
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    threading.Thread(target=_read_signals, args=_pipe[:1], daemon=True).start()
  signal.set_wakeup_fd(_pipe[1])


def _read_signals(read_end: int) -> None:
  while True:
    for signum in os.read(read_end, 16):
      if signum not in SIGNALS:
        continue
      if _exit_now is not None and not _is_deferred:
        _exit_now(signal.Signals(signum))
      elif _forward is not None:
        _forward(signal.Signals(signum).name)
