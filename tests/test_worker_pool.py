"""Who is at work, who stands by, and how many import at once.

The checkers are objects that obey the contract and start no process.
"""

import os
import threading
import time

import pytest
from leaks import anonymous_bytes

from kimina_jax.configs.common import get_config
from kimina_jax.types import Status, Verdict
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.worker_pool import WorkerPool


class Tame:
  """A checker that does as the place tells it."""

  def __init__(self, place: "Place"):
    self._place = place
    self.num_uses = 0
    self.must_replace = False
    self.pid = place.pid
    self.imports = None
    self.ended = ""

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    with self._place.lock:
      self._place.loading += 1
      self._place.most = max(self._place.most, self._place.loading)
    self._place.gate.wait(10)
    with self._place.lock:
      self._place.loading -= 1
    if self.ended or imports in self._place.breaking:
      self.must_replace = True
      self._place.breaking.discard(imports)
      return Verdict(Status.INFRA_ERROR, detail="broke")
    if imports == "wrong":
      return Verdict(Status.INFRA_ERROR, detail="no such module")
    self.imports = imports
    return None

  def kill(self) -> None:
    self.ended = self.ended or "killed"
    self._place.gate.set()

  def kill_for_memory(self) -> None:
    self.ended = "killed for memory"

  def close(self) -> None:
    assert self in self._place.living
    self._place.living.remove(self)


class Place:
  """Where tame checkers live."""

  def __init__(self):
    self.lock = threading.Lock()
    self.gate = threading.Event()
    self.gate.set()
    self.loading = self.most = 0
    self.breaking: set[str] = set()
    self.living: list[Tame] = []
    self.pid = 0

  def start(self) -> Tame:
    checker = Tame(self)
    self.living.append(checker)
    return checker


@pytest.fixture
def place():
  return Place()


@pytest.fixture
def make(place):
  pools = []

  def pool(**changes) -> tuple[WorkerPool, VerificationStats]:
    settings = CheckerSettings(**{**get_config().checker, **changes})
    stats = VerificationStats(2)
    pools.append(
      WorkerPool(Backend("tame", "", "none", place.start), settings, stats)
    )
    return pools[-1], stats

  yield pool
  for one in pools:
    one.close()
  assert not place.living


def until(condition) -> None:
  deadline = time.monotonic() + 10
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.002)


def test_one_stands_by_for_the_imports_used_last(place, make):
  pool, stats = make(num_standby=1)
  first = pool.acquire("a", fresh=False)
  until(lambda: len(pool._standby) == 1)
  assert all(checker.imports == "a" for checker in place.living)
  second = pool.acquire("a", fresh=False)
  assert second is not first and second.imports == "a"
  counts = stats.read()
  assert (counts["cold_starts"], counts["standby_hits"]) == (1, 1)
  pool.discard(first, "uses")
  pool.discard(second, "crash")
  counts = stats.read()
  assert (counts["replaced/uses"], counts["replaced/crash"]) == (1, 1)


def test_a_standby_worker_is_kept_under_the_imports_it_has_loaded(place, make):
  """Whatever other threads ask for while it is loaded."""
  pool, _ = make(num_standby=8, max_imports=8)
  threads = [
    threading.Thread(
      target=lambda i=i: [
        pool.discard(pool.acquire(f"{i % 4}", fresh=False), "uses")
        for _ in range(50)
      ]
    )
    for i in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert pool._standby
  for imports, worker in list(pool._standby):
    assert worker.imports == imports


def test_those_used_last_stand_by(place, make):
  pool, stats = make(num_standby=2)
  acquired = {}
  for imports in "abc":
    acquired[imports] = pool.acquire(imports, fresh=False)
  for imports in "abc":
    acquired[imports].num_uses = 1
    pool.release(imports, acquired[imports])
  until(lambda: acquired["a"] not in place.living)
  assert acquired["c"] in place.living
  assert pool.acquire("c", fresh=False) in (acquired["c"], *place.living)


def test_a_used_one_is_not_fresh(place, make):
  pool, _ = make(num_standby=0)
  used = pool.acquire("a", fresh=False)
  used.num_uses = 1
  pool.release("a", used)  # none may stand by
  assert used not in place.living
  pool, _ = make(num_standby=3)
  used = pool.acquire("a", fresh=False)
  used.num_uses = 1
  pool.release("a", used)
  assert pool.acquire("a", fresh=True) is not used


def test_no_more_import_at_once_than_may(place, make):
  pool, _ = make(max_imports=3, num_standby=0)
  place.gate.clear()
  acquired = []
  threads = [
    threading.Thread(
      target=lambda i=i: acquired.append(pool.acquire(f"{i}", fresh=False))
    )
    for i in range(10)
  ]
  for thread in threads:
    thread.start()
  until(lambda: place.loading == 3)
  time.sleep(0.05)
  assert place.loading == 3
  place.gate.set()
  for thread in threads:
    thread.join()
  assert place.most == 3
  assert len({checker.imports for checker in acquired}) == 10
  for checker in acquired:
    pool.discard(checker, "uses")


def test_one_that_breaks_at_its_start_is_replaced_once(place, make):
  pool, stats = make(num_standby=0)
  place.breaking = {"a"}
  checker = pool.acquire("a", fresh=False)
  assert checker.imports == "a"
  assert stats.read()["retries"] == 1
  pool.discard(checker, "uses")
  verdict = pool.acquire("wrong", fresh=False)
  assert verdict.detail == "no such module"
  assert stats.read()["retries"] == 0


def test_killing_ends_those_that_import(place, make):
  pool, _ = make(num_standby=0)
  place.gate.clear()
  found = []
  thread = threading.Thread(
    target=lambda: found.append(pool.acquire("a", fresh=False))
  )
  thread.start()
  until(lambda: place.loading == 1)
  pool.kill()
  thread.join(10)
  assert found[0].status is Status.INFRA_ERROR
  assert pool.acquire("b", fresh=False).detail == "the pool was closed"


def test_memory_is_watched(place, make):
  """The checker's process is this one, which has so and so much memory."""
  used_gib = anonymous_bytes(os.getpid()) / 2**30
  place.pid = os.getpid()
  pool, _ = make(num_standby=0, memory_gib=used_gib * 20)
  checker = pool.acquire("a", fresh=False)
  time.sleep(0.6)
  assert not pool.is_above_soft_limit(checker) and not checker.ended
  pool.discard(checker, "uses")
  pool, _ = make(num_standby=0, memory_gib=used_gib * 1.15)
  checker = pool.acquire("a", fresh=False)
  until(lambda: pool.is_above_soft_limit(checker))
  assert not checker.ended
  pool.discard(checker, "memory")
  pool, _ = make(num_standby=0, memory_gib=used_gib / 2)
  checker = pool.acquire("a", fresh=False)
  until(lambda: checker.ended == "killed for memory")
  pool.discard(checker, "memory")
