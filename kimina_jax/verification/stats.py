"""What a pool did since somebody last asked: events in, numbers out.

In: verdicts, names of events and busy seconds, from any thread. Out: a flat
dict of floats for a metrics row, and one dict of those of several processes.
It keeps counters alone, never a verdict or a sample, so its memory does not
grow with the number of checks.
"""

import collections
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.types import Status, Verdict

CAUSES = ("uses", "memory", "crash", "timeout", "protocol", "infra", "idle")
ISOLATION_MODES = ("bwrap", "rlimit", "none", "remote")

_STAGES = ("queue", "load", "exec")
_PERCENTS = (50, 90, 99)
_EVENTS = (
  *(
    "cache_hits",
    "verdict_cache_hits",
    "warm_hits",
    "standby_hits",
    "cold_starts",
  ),
  *("retries", "cancelled", "disputed", "second_failed"),
  *(f"restarts/{cause}" for cause in CAUSES),
)
# An audited proof may name others; they count as `other`.
_AXIOMS = (
  *("propext", "Classical.choice", "Quot.sound"),
  *("sorryAx", "Lean.ofReduceBool", "Lean.trustCompiler"),
)
_COUNTED = (
  *_EVENTS,
  "confirmed",
  *(f"verdict/{status}" for status in Status),
  *(f"axioms/{axiom}" for axiom in (*_AXIOMS, "other", "none")),
)
# Seconds are counted in bins, each so many times as wide as the one before;
# a percentile is the middle of its bin, and so right to within 1 %.
_GROWTH = math.log(1.02)
_SHORTEST_S, _LONGEST_S = 1e-6, 1e6
# Share of checks that the infrastructure may lose before somebody must look,
# and how many checks it takes to say so.
_MAX_INFRA_RATE = 0.05
_MIN_CHECKS = 20


class VerificationStats:
  """Owns the counts since the last `read`; any thread may call."""

  def __init__(self, num_workers: int, isolation: str = ""):
    """Begins to count.

    Args:
      num_workers: proofs that may be checked at once.
      isolation: in force, of ISOLATION_MODES; "" says nothing of it.
    """
    self._num_workers = num_workers
    self._isolation = isolation
    self._lock = threading.Lock()
    self._reset()

  def verdict(self, verdict: Verdict) -> None:
    """Counts the end of a check."""
    names = [f"verdict/{verdict.status}", *_axioms(verdict)]
    if verdict.confirmed:
      names.append("confirmed")
    stages = {stage: getattr(verdict, f"{stage}_s") for stage in _STAGES}
    bins = [(stage, _bin(s)) for stage, s in stages.items() if s > 0]
    with self._lock:
      self._counts.update(names)
      self._bins.update(bins)

  def count(self, name: str) -> None:
    """Counts an event.

    Raises:
      ValueError: no event has this name.
    """
    if name not in _EVENTS:
      raise ValueError(f"{name!r} is none of {', '.join(_EVENTS)}")
    with self._lock:
      self._counts[name] += 1

  def busy(self, seconds: float) -> None:
    """Adds the time that one worker had something to do, once it is over."""
    with self._lock:
      self._busy_seconds += seconds

  def read(self) -> dict[str, float]:
    """What happened since the last call.

    Returns:
      `checked` and `verdict/<status>`: ends of checks; an answer from the
        store is one, an answer that an equal proof got is a cache hit alone.
      `axioms/<name>`: audited proofs that rest on it; `none` and `other` too.
      `restarts` and `restarts/<cause>`, `timeouts`, `infra_errors`,
        `confirmed` and all events by name: counts.
      `<stage>_p<percent>_s`: seconds of the checks that came to the stage, by
        nearest rank, to within 1 %; 0 if none did.
      `worker_seconds`: that the workers were there; `busy_seconds` of these,
        each counted when it is over, so that one that began before the last
        call may lift them above `worker_seconds`.
      `isolation/<mode>`: 1 for the one in force.
    """
    with self._lock:
      counts, bins = self._counts, self._bins
      busy_seconds, started_s = self._busy_seconds, self._started_s
      self._reset()
      elapsed_s = self._started_s - started_s
    stats = {name: float(counts[name]) for name in _COUNTED}
    stats["checked"] = sum(stats[f"verdict/{status}"] for status in Status)
    stats["restarts"] = sum(stats[f"restarts/{cause}"] for cause in CAUSES)
    stats["timeouts"] = stats[f"verdict/{Status.TIMEOUT}"]
    stats["infra_errors"] = stats[f"verdict/{Status.INFRA_ERROR}"]
    stats["worker_seconds"] = self._num_workers * elapsed_s
    stats["busy_seconds"] = busy_seconds
    for mode in ISOLATION_MODES if self._isolation else ():
      stats[f"isolation/{mode}"] = float(mode == self._isolation)
    for stage in _STAGES:
      found = sorted((b, n) for (s, b), n in bins.items() if s == stage)
      for percent in _PERCENTS:
        stats[f"{stage}_p{percent}_s"] = _percentile(found, percent)
    return stats

  def _reset(self) -> None:
    self._counts: collections.Counter[str] = collections.Counter()
    self._bins: collections.Counter[tuple[str, int]] = collections.Counter()
    self._busy_seconds = 0.0
    self._started_s = time.monotonic()


def merge_stats(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """The numbers of several processes, or of several intervals, as one.

  Args:
    parts: of `VerificationStats.read`, or of this function.

  Returns:
    Counts added; seconds (`…_s`) of the slowest; and of these, each left out
    where it would be a share of nothing:
    `utilisation`: share of the workers' time that was spent on proofs.
    `warm_rate`: share of the hires whose imports were loaded already.
    `forbidden_rate`, `infra_rate`: share of the checks with that verdict.
    `cache_rate`: share of the answers that needed no check.
  """
  names = dict.fromkeys(name for part in parts for name in part)
  merged = {
    name: (max if name.endswith("_s") else sum)(p.get(name, 0.0) for p in parts)
    for name in names
  }
  shares = _shares(merged)
  counts = {name: x for name, x in merged.items() if name not in shares}
  return counts | {
    name: part / whole for name, (part, whole) in shares.items() if whole
  }


def failure_alarm(stats: Mapping[str, float]) -> str:
  """What somebody must look at now, in a sentence; "" if nothing.

  Args:
    stats: of `read` or `merge`.
  """
  checked = stats.get("checked", 0.0)
  failed = stats.get("infra_errors", 0.0)
  if checked < _MIN_CHECKS or failed <= _MAX_INFRA_RATE * checked:
    return ""
  return (
    f"the checker itself failed on {failed:.0f} of {checked:.0f} proofs "
    f"({failed / checked:.1%}, {_MAX_INFRA_RATE:.0%} may be): see its log, or "
    "run python -m kimina_jax.check --doctor"
  )


def _shares(stats: Mapping[str, float]) -> dict[str, tuple[float, float]]:
  """Part and whole, by name."""

  def add(*names: str) -> float:
    return sum(stats.get(name, 0.0) for name in names)

  ready = add("warm_hits", "standby_hits")
  known = add("cache_hits", "verdict_cache_hits")
  checked = add("checked")
  return {
    "utilisation": (add("busy_seconds"), add("worker_seconds")),
    "warm_rate": (ready, ready + add("cold_starts")),
    "forbidden_rate": (add(f"verdict/{Status.FORBIDDEN_SYNTAX}"), checked),
    "infra_rate": (add("infra_errors"), checked),
    # An answer from the store is a check too, see `VerificationStats.read`.
    "cache_rate": (known, checked + add("cache_hits")),
  }


def _axioms(verdict: Verdict) -> Iterator[str]:
  for axiom in verdict.axioms:
    yield f"axioms/{axiom if axiom in _AXIOMS else 'other'}"
  if verdict.proved and not verdict.axioms:
    yield "axioms/none"


def _bin(seconds: float) -> int:
  seconds = min(max(seconds, _SHORTEST_S), _LONGEST_S)
  return math.floor(math.log(seconds) / _GROWTH)


def _percentile(bins: Sequence[tuple[int, int]], percent: int) -> float:
  """The nearest-rank percentile of counted bins, in order; 0 of nothing."""
  rank = -(-sum(count for _, count in bins) * percent // 100)
  for index, count in bins:
    rank -= count
    if rank <= 0:
      return math.exp((index + 0.5) * _GROWTH)
  return 0.0
