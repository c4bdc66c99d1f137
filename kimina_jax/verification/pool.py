"""Several checker processes at work: a proof in, a future verdict out.

Every item ends exactly once, with a verdict; a bad item, a crash or a hang is
a verdict too, never an exception. A thread owns one process at a time. An end
that the proof may not have caused (see `_RETRIED`) is tried once more on a
fresh process. Equal proofs are checked once.

It starts no JAX and reads no file; the processes it starts end with it.
"""

import collections
import concurrent.futures
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Self

from kimina_jax.types import Extraction, Problem, Status, UsageError, Verdict
from kimina_jax.verification.audit import Audit, prepare
from kimina_jax.verification.sandbox import Sandbox, resolve_mode
from kimina_jax.verification.worker import Worker, make_backend

Future = concurrent.futures.Future[Verdict]

_log = logging.getLogger(__name__)
_STAGES = ("queue", "load", "exec")
_MAX_KNOWN = 65_536
# Verdicts that the same text always gets.
_DETERMINISTIC = frozenset(
  (
    Status.PROVED,
    Status.LEAN_ERROR,
    Status.HAS_SORRY,
    Status.DISALLOWED_AXIOM,
    Status.STATEMENT_MISMATCH,
    Status.MISSING_THEOREM,
    Status.FORBIDDEN_SYNTAX,
    Status.MALFORMED,
  )
)
# Ends that an earlier proof on the same process may have caused.
_RETRIED = frozenset(
  (Status.OUT_OF_MEMORY, Status.CRASH, Status.PROTOCOL_VIOLATION)
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Item:
  problem: Problem
  final: str
  future: Future
  submitted_s: float

  @property
  def key(self) -> tuple[str, str, str]:
    return self.problem.header, self.problem.statement, self.final


class Pool:
  """Owns the checker processes and their threads.

  Example:
    with Pool(**config.checker) as pool:
      verdict = pool.submit(problem, extract(response)).result()

  Attributes:
    isolation: the isolation in force: `bwrap`, `rlimit` or `none`.
  """

  def __init__(
    self,
    *,
    backend: str,
    command: str,
    lean_path: str,
    num_workers: int,
    exec_timeout_s: float,
    load_timeout_s: float,
    max_uses: int,
    memory_gib: float,
    isolation: str,
  ):
    """See configs/common.py for the arguments.

    Raises:
      UsageError: a command or an isolation that is not available here, or a
        number that is not positive.
    """
    _require_positive(
      {
        "num_workers": num_workers,
        "exec_timeout_s": exec_timeout_s,
        "load_timeout_s": load_timeout_s,
        "max_uses": max_uses,
        "memory_gib": memory_gib,
      }
    )
    self.isolation = resolve_mode(isolation)
    self._backend = make_backend(backend, command, lean_path)
    cpu_s = load_timeout_s + max_uses * exec_timeout_s
    self._sandbox = Sandbox(
      self.isolation, self._backend.paths, cpu_s, memory_gib
    )
    self._exec_timeout_s = exec_timeout_s
    self._load_timeout_s = load_timeout_s
    self._max_uses = max_uses
    self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
    self._lock = threading.Lock()
    self._closed = False
    self._known: dict[tuple[str, str, str], Future] = {}
    self._workers: list[Worker | None] = [None] * num_workers
    self._counts: collections.Counter[str] = collections.Counter()
    self._seconds = {stage: [] for stage in _STAGES}
    self._threads = [
      threading.Thread(target=self._serve, args=(slot,), daemon=True)
      for slot in range(num_workers)
    ]
    for thread in self._threads:
      thread.start()

  def submit(self, problem: Problem, extraction: Extraction) -> Future:
    """Queues a proof.

    Args:
      problem: what was to be proved.
      extraction: the response; one that breaks the pattern is MALFORMED.

    Returns:
      The verdict to come; it cannot be cancelled, for equal proofs share it.

    Raises:
      RuntimeError: the pool is closed.
    """
    future = Future()
    future.set_running_or_notify_cancel()
    item = _Item(problem, extraction.final, future, time.monotonic())
    with self._lock:
      if self._closed:
        raise RuntimeError("the pool is closed")
      if not extraction.error and item.key in self._known:
        self._counts["cache_hits"] += 1
        return self._known[item.key]
      if not extraction.error:
        self._remember(item)
        self._queue.put(item)
    if extraction.error:
      self._finish(item, Verdict(Status.MALFORMED, detail=extraction.error))
    return future

  def stats(self) -> dict[str, float]:
    """What happened since the last call, as scalars for a metrics row.

    Counts of checks, verdicts by status, cache hits, restarts, timeouts and
    infrastructure errors; seconds at the 50th and 99th percentile by stage.
    """
    with self._lock:
      counts, self._counts = self._counts, collections.Counter()
      seconds, self._seconds = self._seconds, {s: [] for s in _STAGES}
    stats = {f"verdict/{s}": float(counts[s]) for s in Status}
    stats["checked"] = sum(stats.values())
    for name in ("cache_hits", "restarts"):
      stats[name] = float(counts[name])
    stats["timeouts"] = stats[f"verdict/{Status.TIMEOUT}"]
    stats["infra_errors"] = stats[f"verdict/{Status.INFRA_ERROR}"]
    for stage, values in seconds.items():
      for percent in (50, 99):
        stats[f"{stage}_p{percent}_s"] = _percentile(values, percent)
    return stats

  def close(self) -> None:
    """Ends every process; what is unfinished becomes an INFRA_ERROR."""
    with self._lock:
      self._closed = True
      for worker in self._workers:
        if worker is not None:
          worker.kill()
    for _ in self._threads:
      self._queue.put(None)
    for thread in self._threads:
      thread.join()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _serve(self, slot: int) -> None:
    """A thread's life: one item after the other."""
    while (item := self._queue.get()) is not None:
      try:
        verdict = self._check(slot, item)
      except Exception as error:  # a thread must outlive any one item
        _log.exception("the checker failed on %s", item.problem.name)
        verdict = Verdict(Status.INFRA_ERROR, detail=repr(error))
        self._drop(slot)
      self._finish(item, verdict)
    self._drop(slot)

  def _check(self, slot: int, item: _Item) -> Verdict:
    if self._closed:
      return Verdict(Status.INFRA_ERROR, detail="the pool was closed")
    queue_s = time.monotonic() - item.submitted_s
    audit = prepare(item.problem, item.final)
    if isinstance(audit, Verdict):
      return dataclasses.replace(audit, queue_s=queue_s)
    verdict, retry = self._attempt(slot, audit)
    if retry:
      _log.warning("retry on a fresh worker: %s", verdict.detail)
      verdict, _ = self._attempt(slot, audit)
    return dataclasses.replace(verdict, queue_s=queue_s)

  def _attempt(self, slot: int, audit: Audit) -> tuple[Verdict, bool]:
    """A verdict, and whether a fresh process may come to another."""
    started_s = time.monotonic()
    try:
      worker = self._workers[slot] or self._start(slot)
    except OSError as error:
      detail = f"the checker does not start: {error}"
      return Verdict(Status.INFRA_ERROR, detail=detail), True
    was_used = worker.num_uses > 0
    verdict = worker.load(audit.header, timeout_s=self._load_timeout_s)
    loaded_s = time.monotonic()
    if verdict is None:
      verdict = worker.check(audit, timeout_s=self._exec_timeout_s)
    broken = worker.broken
    if broken or worker.num_uses >= self._max_uses:
      self._drop(slot)
    if self._closed and broken:
      return Verdict(Status.INFRA_ERROR, detail="the pool was closed"), False
    retry = broken and (
      verdict.status is Status.INFRA_ERROR
      or (was_used and verdict.status in _RETRIED)
    )
    load_s, exec_s = loaded_s - started_s, time.monotonic() - loaded_s
    return dataclasses.replace(verdict, load_s=load_s, exec_s=exec_s), retry

  def _start(self, slot: int) -> Worker:
    worker = Worker(self._backend, self._sandbox)
    with self._lock:
      self._workers[slot] = worker
      if self._closed:
        worker.kill()
    return worker

  def _drop(self, slot: int) -> None:
    with self._lock:
      worker, self._workers[slot] = self._workers[slot], None
      if worker is not None and not self._closed:
        self._counts["restarts"] += 1
    if worker is not None:
      worker.close()

  def _remember(self, item: _Item) -> None:
    self._known[item.key] = item.future
    while len(self._known) > _MAX_KNOWN:
      self._known.pop(next(iter(self._known)))

  def _finish(self, item: _Item, verdict: Verdict) -> None:
    with self._lock:
      if verdict.status not in _DETERMINISTIC:
        self._known.pop(item.key, None)
      self._counts[verdict.status] += 1
      for stage, values in self._seconds.items():
        if seconds := getattr(verdict, f"{stage}_s"):
          values.append(seconds)
    item.future.set_result(verdict)


def _require_positive(options: Mapping[str, float]) -> None:
  for name, value in options.items():
    if value <= 0:
      raise UsageError(f"checker.{name} must be positive, got {value}")


def _percentile(values: list[float], percent: int) -> float:
  """The nearest-rank percentile; 0 of nothing."""
  if not values:
    return 0.0
  rank = -(-len(values) * percent // 100)
  return sorted(values)[max(rank, 1) - 1]
