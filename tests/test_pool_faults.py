"""Ten thousand proofs, every few of which do to their checker what they can."""

import collections
import os
import pathlib
import random
import threading

from test_pool import (
  FAULTS,
  MEMORY_GIB,
  PROBLEM,
  make_pool,
  nothing_left,
  proof,
)

from kimina_jax.types import Status

__all__ = ["nothing_left"]  # a fixture

NUM_ITEMS = 10_000
EVERY = 8  # items, to one with a fault
# These take their whole timeout each, or so much memory.
TIMEOUTS = {name for name, status in FAULTS.items() if status is Status.TIMEOUT}
RARE = TIMEOUTS | {"grow", "bomb", "huge", "endless", "flood", "slow"}
EXEC_TIMEOUT_S = 6.0


def test_ten_thousand_items(nothing_left):
  rng = random.Random(0)
  faults = [name for name in FAULTS for _ in range(1 if name in RARE else 6)]
  plan = [
    rng.choice(faults) if index % EVERY == 0 else ""
    for index in range(NUM_ITEMS)
  ]
  ends, lock = collections.Counter(), threading.Lock()

  def count(index: int) -> None:
    with lock:
      ends[index] += 1

  sizes = []
  with make_pool(
    num_workers=8,
    num_spares=2,
    exec_timeout_s=EXEC_TIMEOUT_S,
    max_uses=20,
    memory_gib=MEMORY_GIB,
  ) as pool:
    futures = []
    for index, name in enumerate(plan):
      body = f"omega -- {index}" + (f" FAULT:{name}" if name else "")
      future = pool.submit(PROBLEM, proof(body))
      future.add_done_callback(lambda _, index=index: count(index))
      futures.append(future)
    wrong = []
    for index, (name, future) in enumerate(zip(plan, futures, strict=True)):
      verdict = future.result(timeout=300)
      if verdict.status is not FAULTS.get(name, Status.PROVED):
        wrong.append((index, name, verdict))
      if index in (NUM_ITEMS // 4, NUM_ITEMS - 1):
        sizes.append(resident_bytes())
    stats = pool.stats()
  assert not wrong, wrong[:5]
  assert ends == dict.fromkeys(range(NUM_ITEMS), 1)
  assert stats["checked"] == NUM_ITEMS
  num_timeouts = sum(name in TIMEOUTS for name in plan)
  assert stats["timeouts"] == num_timeouts == stats["restarts/timeout"]
  assert stats["infra_errors"] == 0
  assert stats["restarts/uses"] > 10 and stats["restarts/memory"] > 10
  # What grows are the verdicts that are remembered, about 1 KB each.
  assert sizes[1] - sizes[0] < 40 * 2**20


def resident_bytes() -> int:
  pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
  return int(pages) * os.sysconf("SC_PAGE_SIZE")
