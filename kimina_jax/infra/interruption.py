"""SIGINT and SIGTERM as exceptions, raised where a program can end.

A cluster sends SIGTERM some seconds before it takes a machine away; Ctrl-C
sends SIGINT. A program has two phases:

- After `install()`, which cli.py calls before anything slow is imported, a
  signal raises Interrupted in the main thread at once: there is nothing to
  save yet.
- After `defer()`, which a loop calls when it starts, a signal is recorded, and
  only `check()` and `agree()` raise, where the state of the loop is complete.

A second signal has the system's default effect, which is to end the process.

In a job of several processes the signal may reach any of them, at any time.
They stop at the same place because only `agree()` decides, in a collective;
`check()` merely lets a process go to the next `agree()` at once, without the
rest of its work. Python runs signal handlers in the main thread only, which
may be waiting in that collective; therefore `forward_signals` passes signals
on from a thread. Standard library only: it is imported before all else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_RAISE_AGAIN_S = 0.01

_received: list[signal.Signals] = []
_elsewhere = ""  # the signal that another process received
_is_deferred = False


class Interrupted(BaseException):
  """The process was asked to end; the message says by what, and what is saved.

  Not an Exception, as KeyboardInterrupt is none: libraries that go on after
  an exception shall not go on after this one.
  """


def install() -> None:
  """From now on a signal raises Interrupted in the main thread."""
  global _is_deferred, _elsewhere
  _received.clear()
  _elsewhere = ""
  _is_deferred = False
  for signum in SIGNALS:
    signal.signal(signum, _handle)
  if sys.unraisablehook is not _raise_again:
    sys.unraisablehook = _raise_again


def defer() -> None:
  """From now on a signal is only recorded, for `check` and `agree`.

  Raises:
    Interrupted: a signal has arrived before.
  """
  global _is_deferred
  _is_deferred = True
  check()
  for signum in SIGNALS:
    signal.signal(signum, _handle)


def uninstall() -> None:
  """Gives the signals their default effect again, and forgets them."""
  global _is_deferred, _elsewhere
  for signum in SIGNALS:
    signal.signal(signum, signal.SIG_DFL)
  _received.clear()
  _elsewhere = ""
  _is_deferred = False


def is_deferred() -> bool:
  """Whether `defer()` has been called, so that a loop saves its state."""
  return _is_deferred


def reason() -> str:
  """Name of the signal received, by any process; "" if there was none."""
  return _received[0].name if _received else _elsewhere


def exit_code() -> int:
  """128 plus the number of the signal received, as shells count."""
  return 128 + (_received[0] if _received else signal.SIGTERM)


def check() -> None:
  """Raises Interrupted if this or another process has received a signal."""
  if reason():
    raise Interrupted(reason())


def agree() -> None:
  """Raises Interrupted in all processes if one of them received a signal.

  A collective: every process has to call it, and as often as the others.
  """
  from kimina_jax.infra import distributed

  for found in distributed.gather(reason()):
    if found:
      raise Interrupted(found)


def record_elsewhere(signal_name: str) -> None:
  """Records a signal that another process of the job has received."""
  global _elsewhere
  _elsewhere = signal_name


def forward_signals(send: Callable[[str], None]) -> None:
  """Calls `send` with the name of each signal, from a thread of its own."""
  read_end, write_end = os.pipe()
  os.set_blocking(write_end, False)
  signal.set_wakeup_fd(write_end)

  def forward() -> None:
    while True:
      for signum in os.read(read_end, 16):
        if signum in SIGNALS:
          send(signal.Signals(signum).name)

  threading.Thread(target=forward, daemon=True).start()


def _handle(signum: int, frame: object) -> None:
  del frame
  _received.append(signal.Signals(signum))
  signal.signal(signum, signal.SIG_DFL)
  if not _is_deferred:
    raise Interrupted(reason())


def _raise_again(unraisable: Any) -> None:
  """sys.unraisablehook: raises Interrupted again where it was swallowed.

  Python cannot propagate an exception out of a callback of the garbage
  collector or a destructor. JAX has such a callback, so that a signal during
  start-up would otherwise be lost.
  """
  if not isinstance(unraisable.exc_value, Interrupted):
    sys.__unraisablehook__(unraisable)
    return
  signum = _received[-1]
  signal.signal(signum, _handle)
  main_thread = threading.main_thread().ident
  threading.Timer(
    _RAISE_AGAIN_S, signal.pthread_kill, args=(main_thread, signum)
  ).start()
