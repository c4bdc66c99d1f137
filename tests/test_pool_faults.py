"""Ten thousand proofs, one in sixteen of which makes its worker fail."""

import collections
import concurrent.futures
import multiprocessing
import random
import threading
import tracemalloc

from leaks import assert_no_more_than, held
from test_pool import FAULTS, MEMORY_GIB, PROBLEM, make_pool, proof

from kimina_jax.types import Status

NUM_ITEMS = 10_000
EVERY = 16  # one item in so many has a fault
# These take their whole timeout each, or so much memory.
TIMEOUTS = {name for name, status in FAULTS.items() if status is Status.TIMEOUT}
RARE = TIMEOUTS | {"grow", "bomb", "huge", "endless", "flood", "slow"}
EXEC_TIMEOUT_S = 6.0


def test_ten_thousand_items():
  """In a process of its own, whose resources are those of the pool alone."""
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
    executor.submit(check_ten_thousand_items).result(timeout=900)


def check_ten_thousand_items() -> None:
  before, threads = held(), set(threading.enumerate())
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

  with make_pool(
    num_workers=8,
    num_standby=2,
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
      if index == NUM_ITEMS // 4:
        tracemalloc.start()
    growth, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stats = pool.stats()
  assert not wrong, wrong[:5]
  assert ends == dict.fromkeys(range(NUM_ITEMS), 1)
  assert stats["checked"] == NUM_ITEMS
  num_timeouts = sum(name in TIMEOUTS for name in plan)
  assert stats["timeouts"] == num_timeouts == stats["replaced/timeout"]
  assert stats["infra_errors"] == 0
  assert stats["replaced/uses"] > 10 and stats["replaced/memory"] > 10
  # What was allocated since the first quarter and is still held: verdicts in
  # the pool and in futures, 1 to 2 KB each. Not the resident size: floods of
  # 16 MiB leave holes in the heap.
  assert growth < 20 * 2**20, f"{growth / 2**20:.0f} MiB"
  assert_no_more_than(before)
  assert set(threading.enumerate()) <= threads
