"""Statistics of a verification pool: counters of events, read as metrics.

In: verdicts, named events and busy seconds, from any thread. Out: a flat dict
of floats for a row of metrics, and one dict that merges those of several
processes. It keeps counters only, no verdict and no sample, so that its memory
does not grow with the number of checks.
"""

import collections
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.worker_replacement import ReplacementReason

# Isolation modes in force: those of settings.ISOLATION_CHOICES with `auto`
# resolved, and `remote` for servers.
ISOLATION_MODES = ("bwrap", "rlimit", "none", "remote")
REPLACEMENT_REASONS = tuple(ReplacementReason)

_STAGES = ("queue", "load", "exec")
_PERCENTS = (50, 90, 99)
_EVENTS = (
  "duplicates",
  "verdict_cache_hits",
  "warm_hits",
  "standby_hits",
  "cold_starts",
  "retries",
  "cancelled",
  "disputed",
  "second_failed",
  *(f"replaced/{reason}" for reason in REPLACEMENT_REASONS),
)
# Axioms with a counter of their own; all others count as `other`.
_AXIOMS = (
  "propext",
  "Classical.choice",
  "Quot.sound",
  "sorryAx",
  "Lean.ofReduceBool",
  "Lean.trustCompiler",
)
_COUNTED = (
  *_EVENTS,
  "confirmed",
  *(f"verdict/{status}" for status in Status),
  *(f"axioms/{axiom}" for axiom in (*_AXIOMS, "other", "none")),
)
# Seconds are counted in bins, each 2 % wider than the one before; a
# percentile is the middle of its bin, and so right to within 1 %.
_GROWTH = math.log(1.02)
_SHORTEST_S, _LONGEST_S = 1e-6, 1e6
# The alarm: share of checks that may end in infrastructure errors, and the
# least number of checks for which the share is computed.
_MAX_INFRA_RATE = 0.05
_MIN_CHECKS = 20


class VerificationStats:
  """Counters since the last `read`; any thread may call it."""

  def __init__(self, num_workers: int, isolation: str = ""):
    """Starts counting.

    Args:
      num_workers: proofs that may be checked at the same time.
      isolation: the isolation in force, one of ISOLATION_MODES; "" reports
        none.
    """
    self._num_workers = num_workers
    self._isolation = isolation
    self._lock = threading.Lock()
    self._reset()

  def verdict(self, verdict: Verdict) -> None:
    """Counts a verdict."""
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
      raise ValueError(f"{name!r} is not one of {', '.join(_EVENTS)}")
    with self._lock:
      self._counts[name] += 1

  def busy(self, seconds: float) -> None:
    """Adds the time that one worker spent on a proof."""
    with self._lock:
      self._busy_seconds += seconds

  def read(self) -> dict[str, float]:
    """Statistics since the last call.

    Returns:
      `checked` and `verdict/<status>`: verdicts, those from the verdict cache
        included; a proof that gets the verdict of an equal proof counts in
        `duplicates` only.
      `axioms/<name>`: audited proofs that use the axiom; also `none`, `other`.
      `replaced` and `replaced/<reason>`: workers that were replaced.
      `timeouts`, `infra_errors`, `confirmed` and all events by name: counts.
      `<stage>_p<percent>_s`: percentile of the seconds that proofs spent in the
        stage, by nearest rank, to within 1 %; 0 without any.
      `worker_seconds`: number of workers × seconds since the last call.
      `busy_seconds`: seconds that workers spent on proofs, added when a proof
        ends; a proof that began before the last call may make them exceed
        `worker_seconds`.
      `isolation/<mode>`: 1 for the isolation in force.
    """
    with self._lock:
      counts, bins = self._counts, self._bins
      busy_seconds, started_s = self._busy_seconds, self._started_s
      self._reset()
      elapsed_s = self._started_s - started_s
    stats = {name: float(counts[name]) for name in _COUNTED}
    stats["checked"] = sum(stats[f"verdict/{status}"] for status in Status)
    stats["replaced"] = sum(
      stats[f"replaced/{reason}"] for reason in REPLACEMENT_REASONS
    )
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
  """Merges the statistics of several processes or of several intervals.

  Args:
    parts: of `VerificationStats.read`, or of this function.

  Returns:
    The sums of all counts, the maxima of the percentiles (`…_s`), and these
    shares, each left out where its denominator is 0:
    `utilisation`: share of the workers' time that was spent on proofs.
    `warm_rate`: share of the checks whose worker had the imports loaded.
    `forbidden_rate`, `infra_rate`: share of the checks with that verdict.
    `cache_rate`: share of the submitted proofs that needed no check.
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
  """A warning if infrastructure errors are frequent; "" if they are not.

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
  """Numerator and denominator of each share, by its name."""

  def add(*names: str) -> float:
    return sum(stats.get(name, 0.0) for name in names)

  loaded = add("warm_hits", "standby_hits")
  known = add("duplicates", "verdict_cache_hits")
  checked = add("checked")
  return {
    "utilisation": (add("busy_seconds"), add("worker_seconds")),
    "warm_rate": (loaded, loaded + add("cold_starts")),
    "forbidden_rate": (add(f"verdict/{Status.FORBIDDEN_SYNTAX}"), checked),
    "infra_rate": (add("infra_errors"), checked),
    # Hits of the verdict cache count as checked, see VerificationStats.read.
    "cache_rate": (known, checked + add("duplicates")),
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
  """The nearest-rank percentile of sorted, counted bins; 0 of none."""
  rank = -(-sum(count for _, count in bins) * percent // 100)
  for index, count in bins:
    rank -= count
    if rank <= 0:
      return math.exp((index + 0.5) * _GROWTH)
  return 0.0
