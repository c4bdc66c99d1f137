"""SIGTERM or SIGINT in, `Interrupted` out, only where the caller asks for it.

A cluster sends SIGTERM some seconds before it takes a machine, a person types
Ctrl-C. The handler sets a flag; the loop calls `check()` where its state is
whole, saves, and leaves. Nothing is interrupted in the middle.

The signal may reach any processes of a job, at any time. They stop at the same
place because only `agree()` decides, where all of them meet: `check()` merely
lets a process go there at once, with its work undone. Nobody waits for one
that has stopped, since every way leads to the next `agree()`. Python handles
a signal when the main thread has time, which it has not while it waits for the
others there; so a thread passes the word on.
"""

import os
import signal
import threading

from kimina_jax.infra import distributed

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_received: list[signal.Signals] = []


class Interrupted(Exception):
  """The process was asked to end. The message says what was saved."""


def install() -> None:
  """Catches the signals from now on; a second one acts as usual."""
  _received.clear()
  for signum in SIGNALS:
    signal.signal(signum, _handle)
  if not distributed.is_alone():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    threading.Thread(target=_relay, args=(read_end,), daemon=True).start()


def check() -> None:
  """Raises Interrupted if one of the signals has arrived, here or elsewhere."""
  reason = _reason()
  if reason:
    raise Interrupted(reason)


def agree() -> None:
  """Raises Interrupted in all processes if one of them was asked to end.

  Every process has to call it, and as often as the others.
  """
  for reason in distributed.gather(_reason()):
    if reason:
      raise Interrupted(reason)


def _reason() -> str:
  """The signal, by name; "" without one."""
  return _received[0].name if _received else distributed.stop_asked()


def _relay(read_end: int) -> None:
  """Tells the other processes of each signal, whatever the main thread does."""
  while True:
    for signum in os.read(read_end, 16):
      if signum in SIGNALS:
        distributed.ask_to_stop(signal.Signals(signum).name)


def _handle(signum: int, frame: object) -> None:
  del frame
  _received.append(signal.Signals(signum))
  signal.signal(signum, signal.SIG_DFL)
