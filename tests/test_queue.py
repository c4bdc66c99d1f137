"""The verification queue: order, blocking, closing; no item is lost."""

import dataclasses
import random
import threading
import time

import pytest

from kimina_jax.verification.queue import QueueClosed, VerificationQueue


@dataclasses.dataclass(frozen=True)
class Item:
  imports: str
  submitted_s: float


def test_items_with_the_loaded_imports_come_first():
  queue = VerificationQueue(10)
  items = [Item("ab"[i % 2], float(i)) for i in range(4)]
  for item in items:
    queue.put(item)
  assert queue.get("b") is items[1]
  assert queue.get("b") is items[3]
  assert queue.get("b") is items[0]  # nothing else is left
  assert queue.get("c") is items[2]


def test_much_older_items_come_before_loaded_imports():
  queue = VerificationQueue(10)
  old, new = Item("a", 0.0), [Item("b", 15.0), Item("b", 25.0)]
  for item in (old, *new):
    queue.put(item)
  assert queue.get("b") is new[0]
  assert queue.get("b") is old
  assert queue.get("a") is new[1]


def test_a_worker_without_imports_gets_the_oldest_item():
  queue = VerificationQueue(10)
  items = [Item(name, s) for name, s in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
  for item in items:
    queue.put(item)
  taken = [queue.get(None) for _ in items]
  assert [item.imports for item in taken] == ["b", "c", "a"]


def test_put_blocks_while_the_queue_is_full():
  queue = VerificationQueue(2)
  brought = []

  def bring() -> None:
    for index in range(5):
      queue.put(Item("a", float(index)))
      brought.append(index)

  thread = threading.Thread(target=bring)
  thread.start()
  for taken in range(4):
    deadline = time.monotonic() + 10
    while len(brought) < min(taken + 2, 5):
      assert time.monotonic() < deadline
      time.sleep(0.001)
    assert len(brought) <= taken + 2
    assert queue.get("a").submitted_s == taken
  thread.join()


def test_close_wakes_all_callers_and_returns_the_items():
  queue = VerificationQueue(1)
  item = Item("a", 0.0)
  queue.put(item)
  refused = []

  def bring() -> None:
    with pytest.raises(QueueClosed):
      queue.put(item)
    refused.append(True)

  thread = threading.Thread(target=bring)
  thread.start()
  assert queue.close() == [item]
  thread.join(10)
  assert refused and queue.get("a") is None and queue.get(None) is None
  with pytest.raises(QueueClosed):
    queue.put(item)


def test_many_threads_lose_nothing():
  queue, rng = VerificationQueue(7), random.Random(0)
  items = [Item(rng.choice("abc"), float(i)) for i in range(2000)]
  taken, lock = [], threading.Lock()

  def work(loaded: str) -> None:
    while (item := queue.get(loaded)) is not None:
      with lock:
        taken.append(item)

  threads = [threading.Thread(target=work, args=(x,)) for x in "aabz"]
  for thread in threads:
    thread.start()
  for item in items:
    queue.put(item)
  deadline = time.monotonic() + 20
  while len(taken) < len(items) and time.monotonic() < deadline:
    time.sleep(0.01)
  left = queue.close()
  for thread in threads:
    thread.join()
  assert sorted(taken, key=lambda item: item.submitted_s) == items
  assert not left
