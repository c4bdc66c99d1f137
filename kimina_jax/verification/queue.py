"""Verification queue: the proofs that wait for a worker.

In: items, each with the imports that its worker must have loaded. Out: one item
at a time for a worker, first among those whose imports the worker has loaded,
unless an item with other imports has waited much longer. `put` blocks while the
queue is full. Every call takes the same time, however many items wait.
"""

import collections
import threading
from typing import Generic, Protocol, TypeVar

# An item with other imports overtakes if it has waited this much longer, which
# is about the time to load its imports.
_MAX_DELAY_S = 20.0


class QueueClosed(Exception):
  """The queue takes no more items."""


class QueueItem(Protocol):
  """The fields of an item that the queue reads."""

  @property
  def imports(self) -> str:
    """The import lines that a worker must have loaded."""

  @property
  def submitted_s(self) -> float:
    """When it was submitted, by time.monotonic."""


Item = TypeVar("Item", bound=QueueItem)


class VerificationQueue(Generic[Item]):
  """Owns the waiting items; any thread may call it."""

  def __init__(self, max_pending: int):
    """An empty queue of at most `max_pending` items."""
    self._max_pending = max_pending
    self._queues: dict[str, collections.deque[Item]] = {}  # by imports
    self._size = 0
    self._closed = False
    lock = threading.Lock()
    self._not_full = threading.Condition(lock)
    self._not_empty = threading.Condition(lock)

  def put(self, item: Item) -> None:
    """Appends an item; blocks while the queue is full.

    Raises:
      QueueClosed: the item was not appended.
    """
    with self._not_full:
      self._not_full.wait_for(
        lambda: self._closed or self._size < self._max_pending
      )
      if self._closed:
        raise QueueClosed
      self._queues.setdefault(item.imports, collections.deque()).append(item)
      self._size += 1
      self._not_empty.notify()

  def get(self, loaded: str | None) -> Item | None:
    """Removes the next item; blocks while the queue is empty.

    Args:
      loaded: the imports that the worker has loaded; None if it has none yet.

    Returns:
      The item, or None once the queue is closed.
    """
    with self._not_empty:
      self._not_empty.wait_for(lambda: self._closed or self._size)
      if self._closed:
        return None
      imports = self._next_imports(loaded)
      queue = self._queues[imports]
      item = queue.popleft()
      if not queue:
        del self._queues[imports]
      self._size -= 1
      self._not_full.notify()
      return item

  def close(self) -> list[Item]:
    """Closes the queue, wakes all callers and returns the waiting items."""
    with self._not_empty:
      self._closed = True
      left = [item for queue in self._queues.values() for item in queue]
      self._queues.clear()
      self._size = 0
      self._not_full.notify_all()
      self._not_empty.notify_all()
    return left

  def _next_imports(self, loaded: str | None) -> str:
    """The imports whose oldest item is next."""
    oldest = min(self._queues, key=self._submitted_s)
    if loaded is None or loaded not in self._queues:
      return oldest
    delay_s = self._submitted_s(loaded) - self._submitted_s(oldest)
    return oldest if delay_s > _MAX_DELAY_S else loaded

  def _submitted_s(self, imports: str) -> float:
    """When the oldest item with these imports was submitted."""
    return self._queues[imports][0].submitted_s
