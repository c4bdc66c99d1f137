"""SIGTERM in, `Preempted` out: raised only where the caller asks for it.

A cluster sends SIGTERM some seconds before it takes a machine. The handler
sets a flag; the loop calls `check()` where its state is whole, saves, and
leaves. Nothing is interrupted in the middle.
"""

import signal
import threading

_requested = threading.Event()


class Preempted(Exception):
  """The process was asked to end. The message says what was saved."""


def install() -> None:
  """Catches SIGTERM from now on; a second one kills as usual."""
  _requested.clear()
  signal.signal(signal.SIGTERM, _handle)


def check() -> None:
  """Raises Preempted if SIGTERM has arrived."""
  if _requested.is_set():
    raise Preempted("SIGTERM")


def _handle(signum: int, frame: object) -> None:
  del frame
  _requested.set()
  signal.signal(signum, signal.SIG_DFL)
