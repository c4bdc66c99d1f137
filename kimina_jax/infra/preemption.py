"""SIGTERM or SIGINT in, `Preempted` out, only where the caller asks for it.

A cluster sends SIGTERM some seconds before it takes a machine, a person types
Ctrl-C. The handler sets a flag; the loop calls `check()` where its state is
whole, saves, and leaves. Nothing is interrupted in the middle.
"""

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_received: list[signal.Signals] = []


class Preempted(Exception):
  """The process was asked to end. The message says what was saved."""


def install() -> None:
  """Catches the signals from now on; a second one acts as usual."""
  _received.clear()
  for signum in SIGNALS:
    signal.signal(signum, _handle)


def check() -> None:
  """Raises Preempted if one of the signals has arrived."""
  if _received:
    raise Preempted(_received[0].name)


def _handle(signum: int, frame: object) -> None:
  del frame
  _received.append(signal.Signals(signum))
  signal.signal(signum, signal.SIG_DFL)
