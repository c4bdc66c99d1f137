"""Worker pool: all checker processes, those in use and those on standby.

In: import lines. Out: a worker that has them loaded, without delay if one is on
standby. The pool keeps `num_standby` standby workers, those whose imports were
used most recently (LRU), and loads one in the background for the imports that
were last asked for, so that replacing a worker does not cost an import. A
watchdog measures the memory of all workers. The pool judges no proof.
"""

import collections
import concurrent.futures
import logging
import threading

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.backend import Backend, Worker
from kimina_jax.verification.process import memory
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats
from kimina_jax.verification.worker_replacement import (
  ReplacementReason,
  is_above_hard_limit,
  is_above_soft_limit,
)

_log = logging.getLogger(__name__)
_WATCH_INTERVAL_S = 0.5
_POOL_CLOSED = Verdict(Status.INFRA_ERROR, detail="the pool was closed")

_Loaded = concurrent.futures.Future[Worker | Verdict]


class WorkerPool:
  """Owns every worker; any thread may call it."""

  def __init__(
    self, backend: Backend, settings: CheckerSettings, stats: VerificationStats
  ):
    """Starts the memory watchdog, and no worker yet."""
    self._backend = backend
    self._load_timeout_s = settings.load_timeout_s
    self._num_standby = settings.num_standby
    self._limit_bytes = int(settings.memory_gib * 2**30)
    self._stats = stats
    self._lock = threading.Lock()
    self._all: set[Worker] = set()
    self._above_soft_limit: set[Worker] = set()
    # Least recently used imports first.
    self._standby: collections.deque[tuple[str, Worker]] = collections.deque()
    self._loading_standby: _Loaded | None = None
    self._killed = threading.Event()
    # A process ends with the thread that started it, so these threads start all
    # of them and outlive them. Their number bounds the imports at one time.
    self._starters = concurrent.futures.ThreadPoolExecutor(
      settings.max_imports, "checker-start"
    )
    self._watchdog = threading.Thread(target=self._watch_memory, daemon=True)
    self._watchdog.start()

  def acquire(self, imports: str, *, fresh: bool) -> Worker | Verdict:
    """A worker with the imports loaded, for the caller alone.

    Args:
      imports: import lines.
      fresh: whether the worker must not have checked anything yet.

    Returns:
      The worker, which the caller must release or discard; or, if there is
      none, the INFRA_ERROR that says why.
    """
    standby = self._take_standby(imports, fresh=fresh)
    self._stats.count("cold_starts" if standby is None else "standby_hits")
    worker = standby or self._start_loading(imports).result()
    if not isinstance(worker, Verdict):
      self._load_standby(imports)
    return worker

  def release(self, imports: str, worker: Worker) -> None:
    """Takes back a worker, which becomes a standby worker."""
    with self._lock:
      self._standby.append((imports, worker))
    self._trim_standby()

  def discard(self, worker: Worker, reason: ReplacementReason) -> None:
    """Ends a worker that is replaced, and counts the reason."""
    self._stats.count(f"replaced/{reason}")
    self._end(worker)

  def is_above_soft_limit(self, worker: Worker) -> bool:
    """Whether the watchdog has seen the worker above the soft memory limit."""
    return worker in self._above_soft_limit

  def kill(self) -> None:
    """Kills every worker; calls in progress return INFRA_ERRORs."""
    with self._lock:
      self._killed.set()
      for worker in self._all:
        worker.kill()

  def close(self) -> None:
    """Frees everything; the caller has released or discarded its workers."""
    self.kill()
    self._starters.shutdown()
    with self._lock:
      left = list(self._all)
    for worker in left:
      self._end(worker)
    self._watchdog.join()

  def _start_loading(self, imports: str) -> _Loaded:
    try:
      return self._starters.submit(self._start, imports)
    except RuntimeError:  # the pool was closed meanwhile
      future: _Loaded = concurrent.futures.Future()
      future.set_result(_POOL_CLOSED)
      return future

  def _start(self, imports: str) -> Worker | Verdict:
    """Starts a worker and loads the imports; a failed start is retried once."""
    result, is_retried = self._try_start(imports)
    if isinstance(result, Verdict) and is_retried and not self._killed.is_set():
      _log.warning("retry of a worker's start: %s", result.detail)
      self._stats.count("retries")
      result, _ = self._try_start(imports)
    return result

  def _try_start(self, imports: str) -> tuple[Worker | Verdict, bool]:
    """A worker or why there is none, and whether another start may succeed."""
    if self._killed.is_set():
      return _POOL_CLOSED, False
    try:
      worker = self._backend.start()
    except OSError as error:
      detail = f"the checker does not start: {error}"
      return Verdict(Status.INFRA_ERROR, detail=detail), True
    with self._lock:
      self._all.add(worker)
      if self._killed.is_set():
        worker.kill()
    verdict = worker.load(imports, timeout_s=self._load_timeout_s)
    if verdict is None:
      return worker, False
    if worker.must_replace:
      self._stats.count(f"replaced/{ReplacementReason.INFRA}")
    self._end(worker)
    return verdict, worker.must_replace

  def _end(self, worker: Worker) -> None:
    with self._lock:
      self._all.discard(worker)
      self._above_soft_limit.discard(worker)
    worker.close()

  def _take_standby(self, imports: str, *, fresh: bool) -> Worker | None:
    """The most recent standby worker with these imports."""
    with self._lock:
      for pair in reversed(self._standby):
        if pair[0] == imports and not (fresh and pair[1].num_uses):
          self._standby.remove(pair)
          return pair[1]
    return None

  def _load_standby(self, imports: str) -> None:
    """Starts to load a standby worker, unless there is one or one is loading.

    One at a time is loaded, so that proofs which wait for a worker are not
    delayed by more than one import.
    """
    with self._lock:
      is_loading = (
        self._loading_standby is not None and not self._loading_standby.done()
      )
      is_there = any(loaded == imports for loaded, _ in self._standby)
      if (
        is_loading or is_there or not self._num_standby or self._killed.is_set()
      ):
        return
      future = self._loading_standby = self._start_loading(imports)
    # Outside the lock: a future that is done calls back at once, and the
    # callback takes the lock.
    future.add_done_callback(
      lambda done: self._add_standby(imports, done.result())
    )

  def _add_standby(self, imports: str, result: Worker | Verdict) -> None:
    if not isinstance(result, Verdict):
      self.release(imports, result)
    elif not self._killed.is_set():
      _log.warning("no standby worker: %s", result.detail)

  def _trim_standby(self) -> None:
    """Ends the least recently used standby workers beyond `num_standby`."""
    while True:
      with self._lock:
        if len(self._standby) <= self._num_standby:
          return
        _, worker = self._standby.popleft()
      self._end(worker)

  def _watch_memory(self) -> None:
    """The watchdog: measures all workers every _WATCH_INTERVAL_S."""
    while not self._killed.wait(_WATCH_INTERVAL_S):
      with self._lock:
        pids = {worker: worker.pid for worker in self._all if worker.pid}
      usages = memory.memory_usages(pids.values())
      for worker, pid in pids.items():
        self._apply_memory_limits(worker, usages[pid])

  def _apply_memory_limits(
    self, worker: Worker, usage: memory.MemoryUsage
  ) -> None:
    with self._lock:
      if worker not in self._all:
        return
      if is_above_soft_limit(usage, self._limit_bytes):
        self._above_soft_limit.add(worker)
      if is_above_hard_limit(usage, self._limit_bytes):
        worker.kill_for_memory()
