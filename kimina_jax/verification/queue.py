"""The proofs that wait for a worker.

In: items, each with the imports that its worker must have. Out: one item at a
time, to whoever asks; he gets one that fits what he has imported, unless
another has waited much longer. Holds no more than it may: who brings one more
waits. Every call takes the same time, however many wait.
"""

import collections
import threading
from typing import Generic, Protocol, TypeVar

# How much longer others must have waited before a worker changes its imports,
# which takes about as long.
_PATIENCE_S = 20.0


class Closed(Exception):
  """Nothing may be brought any more."""


class Waits(Protocol):
  """What can wait here.

  Attributes:
    imports: import lines that its worker must have loaded.
    submitted_s: when it came, by time.monotonic.
  """

  imports: str
  submitted_s: float


Item = TypeVar("Item", bound=Waits)


class VerificationQueue(Generic[Item]):
  """Owns the items that wait; any thread may call."""

  def __init__(self, max_pending: int):
    self._max_pending = max_pending
    self._lines: dict[str, collections.deque[Item]] = {}
    self._size = 0
    self._closed = False
    lock = threading.Lock()
    self._room = threading.Condition(lock)
    self._work = threading.Condition(lock)

  def put(self, item: Item) -> None:
    """Brings an item; waits for room.

    Raises:
      Closed: the item was not taken in.
    """
    with self._room:
      self._room.wait_for(
        lambda: self._closed or self._size < self._max_pending
      )
      if self._closed:
        raise Closed
      self._lines.setdefault(item.imports, collections.deque()).append(item)
      self._size += 1
      self._work.notify()

  def take(self, loaded: str | None) -> Item | None:
    """Waits for an item.

    Args:
      loaded: what the worker has imported; None for nothing yet.

    Returns:
      The item, or None once the backlog is closed.
    """
    with self._work:
      self._work.wait_for(lambda: self._closed or self._size)
      if self._closed:
        return None
      imports = self._choose(loaded)
      line = self._lines[imports]
      item = line.popleft()
      if not line:
        del self._lines[imports]
      self._size -= 1
      self._room.notify()
      return item

  def close(self) -> list[Item]:
    """Wakes everybody; the items that still waited."""
    with self._work:
      self._closed = True
      left = [item for line in self._lines.values() for item in line]
      self._lines.clear()
      self._size = 0
      self._room.notify_all()
      self._work.notify_all()
    return left

  def _choose(self, loaded: str | None) -> str:
    """The line to serve: the own one, unless another's head is much older."""
    oldest = min(self._lines, key=lambda imports: self._since(imports))
    if loaded not in self._lines:
      return oldest
    is_late = self._since(loaded) - self._since(oldest) > _PATIENCE_S
    return oldest if is_late else loaded

  def _since(self, imports: str) -> float:
    return self._lines[imports][0].submitted_s
