"""Who is at work, who stands by, and how many import at once.

The checkers are objects that obey the contract and start no process.
"""

import os
import threading
import time

import pytest

from configs.common import get_config
from kimina_jax.types import Status, Verdict
from kimina_jax.verification.backend import Backend
from kimina_jax.verification.process import memory
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.worker_pool import WorkerPool


class Tame:
  """A checker that does as the place tells it."""

  def __init__(self, place: "Place"):
    self._place = place
    self.num_uses = 0
    self.broken = False
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
      self.broken = True
      self._place.breaking.discard(imports)
      return Verdict(Status.INFRA_ERROR, detail="broke")
    if imports == "wrong":
      return Verdict(Status.INFRA_ERROR, detail="no such module")
    self.imports = imports
    return None

  def kill(self) -> None:
    self.ended = self.ended or "killed"
    self._place.gate.set()

  def starve(self) -> None:
    self.ended = "starved"

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
  crews = []

  def crew(**changes) -> tuple[WorkerPool, VerificationStats]:
    settings = CheckerSettings(**{**get_config().checker, **changes})
    stats = VerificationStats(2)
    crews.append(
      WorkerPool(Backend("tame", "", "none", place.start), settings, stats)
    )
    return crews[-1], stats

  yield crew
  for one in crews:
    one.close()
  assert not place.living


def until(condition) -> None:
  deadline = time.monotonic() + 10
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.002)


def test_one_stands_by_for_the_imports_used_last(place, make):
  crew, stats = make(num_standby=1)
  first = crew.hire("a", fresh=False)
  until(lambda: len(crew._spares) == 1)
  assert all(checker.imports == "a" for checker in place.living)
  second = crew.hire("a", fresh=False)
  assert second is not first and second.imports == "a"
  counts = stats.read()
  assert (counts["cold_starts"], counts["standby_hits"]) == (1, 1)
  crew.retire(first, "uses")
  crew.retire(second, "crash")
  counts = stats.read()
  assert (counts["restarts/uses"], counts["restarts/crash"]) == (1, 1)


def test_those_used_last_stand_by(place, make):
  crew, stats = make(num_standby=2)
  hired = {}
  for imports in "abc":
    hired[imports] = crew.hire(imports, fresh=False)
  for imports in "abc":
    hired[imports].num_uses = 1
    crew.release(imports, hired[imports])
  until(lambda: hired["a"] not in place.living)
  assert hired["c"] in place.living
  assert crew.hire("c", fresh=False) in (hired["c"], *place.living)


def test_a_used_one_is_not_fresh(place, make):
  crew, _ = make(num_standby=0)
  used = crew.hire("a", fresh=False)
  used.num_uses = 1
  crew.release("a", used)  # none may stand by
  assert used not in place.living
  crew, _ = make(num_standby=3)
  used = crew.hire("a", fresh=False)
  used.num_uses = 1
  crew.release("a", used)
  assert crew.hire("a", fresh=True) is not used


def test_no_more_import_at_once_than_may(place, make):
  crew, _ = make(max_imports=3, num_standby=0)
  place.gate.clear()
  hired = []
  threads = [
    threading.Thread(
      target=lambda i=i: hired.append(crew.hire(f"{i}", fresh=False))
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
  assert len({checker.imports for checker in hired}) == 10
  for checker in hired:
    crew.retire(checker, "idle")


def test_one_that_breaks_at_its_start_is_replaced_once(place, make):
  crew, stats = make(num_standby=0)
  place.breaking = {"a"}
  checker = crew.hire("a", fresh=False)
  assert checker.imports == "a"
  assert stats.read()["retries"] == 1
  crew.retire(checker, "idle")
  verdict = crew.hire("wrong", fresh=False)
  assert verdict.detail == "no such module"
  assert stats.read()["retries"] == 0


def test_killing_ends_those_that_import(place, make):
  crew, _ = make(num_standby=0)
  place.gate.clear()
  found = []
  thread = threading.Thread(
    target=lambda: found.append(crew.hire("a", fresh=False))
  )
  thread.start()
  until(lambda: place.loading == 1)
  crew.kill()
  thread.join(10)
  assert found[0].status is Status.INFRA_ERROR
  assert crew.hire("b", fresh=False).detail == "the pool was closed"


def test_memory_is_watched(place, make):
  """The checker's process is this one, which has so and so much memory."""
  used_gib = memory.anonymous_bytes(os.getpid()) / 2**30
  place.pid = os.getpid()
  crew, _ = make(num_standby=0, memory_gib=used_gib * 20)
  checker = crew.hire("a", fresh=False)
  time.sleep(0.6)
  assert not crew.is_tired(checker) and not checker.ended
  crew.retire(checker, "idle")
  crew, _ = make(num_standby=0, memory_gib=used_gib * 1.15)
  checker = crew.hire("a", fresh=False)
  until(lambda: crew.is_tired(checker))
  assert not checker.ended
  crew.retire(checker, "memory")
  crew, _ = make(num_standby=0, memory_gib=used_gib / 2)
  checker = crew.hire("a", fresh=False)
  until(lambda: checker.ended == "starved")
  crew.retire(checker, "memory")
