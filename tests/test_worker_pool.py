"""The worker pool: standby workers, parallel imports, memory watchdog.

The workers are objects that implement the interface and start no process.
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


class FakeWorker:
  """A worker without a process, controlled by its FakeBackend."""

  def __init__(self, place: "FakeBackend"):
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


class FakeBackend:
  """Starts fake workers, and controls what they do."""

  def __init__(self):
    self.lock = threading.Lock()
    self.gate = threading.Event()
    self.gate.set()
    self.loading = self.most = 0
    self.breaking: set[str] = set()
    self.living: list[FakeWorker] = []
    self.pid = 0

  def start(self) -> FakeWorker:
    checker = FakeWorker(self)
    self.living.append(checker)
    return checker


@pytest.fixture
def place():
  return FakeBackend()


@pytest.fixture
def make(place):
  pools = []

  def pool(**changes) -> tuple[WorkerPool, VerificationStats]:
    settings = CheckerSettings(**{**get_config().checker, **changes})
    stats = VerificationStats(2)
    pools.append(
      WorkerPool(Backend("fake", "", "none", place.start), settings, stats)
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


def test_a_standby_worker_is_loaded_for_the_last_imports(place, make):
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
  """Whatever other threads acquire while it is loaded."""
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


def test_the_most_recently_used_stay_on_standby(place, make):
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


def test_fresh_workers_are_unused(place, make):
  pool, _ = make(num_standby=0)
  used = pool.acquire("a", fresh=False)
  used.num_uses = 1
  pool.release("a", used)  # no standby workers
  assert used not in place.living
  pool, _ = make(num_standby=3)
  used = pool.acquire("a", fresh=False)
  used.num_uses = 1
  pool.release("a", used)
  assert pool.acquire("a", fresh=True) is not used


def test_the_number_of_parallel_imports_is_bounded(place, make):
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


def test_a_failed_start_is_retried_once(place, make):
  pool, stats = make(num_standby=0)
  place.breaking = {"a"}
  checker = pool.acquire("a", fresh=False)
  assert checker.imports == "a"
  assert stats.read()["retries"] == 1
  pool.discard(checker, "uses")
  verdict = pool.acquire("wrong", fresh=False)
  assert verdict.detail == "no such module"
  assert stats.read()["retries"] == 0


def test_kill_ends_imports(place, make):
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
  """The pid of the worker is that of this process, whose memory is known."""
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
