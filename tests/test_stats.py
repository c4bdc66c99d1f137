"""Statistics of a pool: counts, percentiles, merging, bounded memory."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.stats import (
  VerificationStats,
  failure_alarm,
  merge_stats,
)


def counted(*verdicts: Verdict, num_workers: int = 1) -> dict[str, float]:
  stats = VerificationStats(num_workers)
  for verdict in verdicts:
    stats.verdict(verdict)
  return stats.read()


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=60))
def test_percentiles_are_those_of_all_samples(seconds):
  stats = counted(*(Verdict(Status.PROVED, exec_s=s) for s in seconds))
  for percent in (50, 90, 99):
    exact = np.percentile(seconds, percent, method="inverted_cdf")
    assert stats[f"exec_p{percent}_s"] == pytest.approx(exact, rel=0.0101)
  assert stats["load_p50_s"] == stats["queue_p99_s"] == 0


def test_only_what_came_to_a_stage_counts_there():
  refused = Verdict(Status.FORBIDDEN_SYNTAX, queue_s=2.0)
  stats = counted(*[refused] * 9, Verdict(Status.PROVED, exec_s=0.5))
  assert stats["exec_p50_s"] == pytest.approx(0.5, rel=0.01)
  assert stats["queue_p50_s"] == pytest.approx(2.0, rel=0.01)


def test_absurd_seconds_are_cut_not_refused():
  stats = counted(
    Verdict(Status.PROVED, exec_s=1e-300),
    *[Verdict(Status.PROVED, exec_s=1e300)] * 2,
  )
  assert stats["exec_p99_s"] == pytest.approx(1e6, rel=0.02)


def test_counts_by_name():
  stats = VerificationStats(2, "bwrap")
  stats.verdict(Verdict(Status.PROVED, axioms=("propext", "Quot.sound")))
  stats.verdict(Verdict(Status.PROVED, confirmed=True))
  stats.verdict(Verdict(Status.HAS_SORRY, axioms=("sorryAx", "my.axiom")))
  stats.verdict(Verdict(Status.TIMEOUT))
  stats.verdict(Verdict(Status.INFRA_ERROR))
  for name in ("duplicates", "replaced/uses", "replaced/crash", "disputed"):
    stats.count(name)
  stats.count("replaced/crash")
  found = stats.read()
  assert all(isinstance(value, float) for value in found.values())
  seen = {
    name: value
    for name, value in found.items()
    if value and not name.endswith("seconds")
  }
  assert seen == {
    "verdict/proved": 2,
    "verdict/has_sorry": 1,
    "verdict/timeout": 1,
    "verdict/infra_error": 1,
    "checked": 5,
    "confirmed": 1,
    "timeouts": 1,
    "infra_errors": 1,
    "axioms/propext": 1,
    "axioms/Quot.sound": 1,
    "axioms/sorryAx": 1,
    "axioms/other": 1,
    "axioms/none": 1,
    "duplicates": 1,
    "disputed": 1,
    "replaced": 3,
    "replaced/uses": 1,
    "replaced/crash": 2,
    "isolation/bwrap": 1,
  }
  again = stats.read()
  assert again.keys() == found.keys()
  left = {name for name, value in again.items() if value}
  assert left == {"worker_seconds", "isolation/bwrap"}


def test_an_event_has_a_known_name():
  with pytest.raises(ValueError, match="'duplicate' is not one of duplicates"):
    VerificationStats(1).count("duplicate")


def test_busy_and_present_time():
  stats = VerificationStats(4)
  start = time.monotonic()
  time.sleep(0.05)
  stats.busy(0.1)
  stats.busy(0.03)
  found = stats.read()
  present = 4 * (time.monotonic() - start)
  assert found["busy_seconds"] == pytest.approx(0.13)
  assert 0.2 <= found["worker_seconds"] <= present + 0.001
  share = found["busy_seconds"] / found["worker_seconds"]
  assert merge_stats([found])["utilisation"] == share
  assert stats.read()["busy_seconds"] == 0


def test_no_event_is_lost_between_threads():
  stats, total = VerificationStats(8), []

  def work():
    for _ in range(2000):
      stats.verdict(Verdict(Status.PROVED, exec_s=0.1))
      stats.count("warm_hits")
      stats.busy(0.5)

  threads = [threading.Thread(target=work) for _ in range(8)]
  for thread in threads:
    thread.start()
  while any(thread.is_alive() for thread in threads):
    total.append(stats.read())
  total.append(stats.read())
  merged = merge_stats(total)
  assert merged["checked"] == merged["warm_hits"] == 16_000
  assert merged["busy_seconds"] == 8_000


def test_memory_does_not_grow_with_the_checks():
  rng, stats = np.random.default_rng(0), VerificationStats(1)

  def run(count):
    for seconds in np.exp(rng.uniform(-13, 13, count)):
      stats.verdict(
        Verdict(
          Status.LEAN_ERROR, queue_s=seconds, load_s=seconds, exec_s=seconds
        )
      )
    return tracemalloc.get_traced_memory()[0]

  tracemalloc.start()
  try:
    first, later = run(20_000), run(40_000)
  finally:
    tracemalloc.stop()
  assert later - first < 20_000


PART = {
  "checked": 40.0,
  "infra_errors": 1.0,
  "verdict/forbidden_syntax": 10.0,
  "warm_hits": 27.0,
  "standby_hits": 1.0,
  "cold_starts": 2.0,
  "duplicates": 10.0,
  "verdict_cache_hits": 5.0,
  "worker_seconds": 100.0,
  "busy_seconds": 80.0,
  "exec_p50_s": 0.2,
}
OTHER = {
  "checked": 10.0,
  "infra_errors": 4.0,
  "verdict/forbidden_syntax": 0.0,
  "warm_hits": 0.0,
  "standby_hits": 0.0,
  "cold_starts": 10.0,
  "duplicates": 0.0,
  "verdict_cache_hits": 0.0,
  "worker_seconds": 300.0,
  "busy_seconds": 20.0,
  "exec_p50_s": 0.5,
}


def test_merging_adds_counts_takes_the_slowest_and_then_divides():
  merged = merge_stats([PART, OTHER])
  assert (merged["checked"], merged["exec_p50_s"]) == (50, 0.5)
  assert merged["utilisation"] == 100 / 400
  assert merged["warm_rate"] == 28 / 40
  assert merged["forbidden_rate"] == 10 / 50
  assert merged["infra_rate"] == 5 / 50
  assert merged["cache_rate"] == 15 / 60


def test_merging_in_steps_is_merging_at_once():
  parts = [PART, OTHER, {**PART, "exec_p50_s": 0.9}, counted()]
  at_once = merge_stats(parts)
  assert (
    merge_stats([merge_stats(parts[:2]), merge_stats(parts[2:])]) == at_once
  )
  assert merge_stats([merge_stats([part]) for part in parts]) == at_once


def test_a_share_of_nothing_is_left_out():
  assert merge_stats([]) == {}
  idle = dict.fromkeys(PART, 0.0)
  assert merge_stats([idle, merge_stats([idle])]) == idle
  only_refused = merge_stats([{**idle, "checked": 3.0}])
  assert only_refused["infra_rate"] == 0
  assert "warm_rate" not in only_refused


@pytest.mark.parametrize(
  ("failed", "checked", "rings"),
  [(0, 0, False), (19, 19, False), (1, 20, False), (2, 20, True)]
  + [(5, 100, False), (6, 100, True)],
)
def test_alarm(failed, checked, rings):
  words = failure_alarm(
    {"infra_errors": float(failed), "checked": float(checked)}
  )
  assert bool(words) == rings
  if rings:
    assert f"failed on {failed} of {checked} proofs" in words
    assert f"{100 * failed / checked:.1f}%, 5% may be" in words
