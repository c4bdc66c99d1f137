"""All the checkers of a pool: those at work and those that stand by.

In: import lines. Out: a checker that has them loaded, at once if one stands
by. Those that stand by are the ones used last (LRU by imports); in the
background one is made ready for the imports that were asked for last, so that
a replaced worker costs nobody an import. It watches their memory. Never
judges anything.
"""

import collections
import concurrent.futures
import logging
import threading

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.backend import Backend, Checker
from kimina_jax.verification.process import memory
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import VerificationStats

_log = logging.getLogger(__name__)
_WATCH_S = 0.5
_MAX_PROCESSES = 64  # of one checker; Lean is one with many threads
# A worker that holds more than this share of its memory is replaced after the
# proof at hand: the next one shall not fail for what others left behind.
_TIRED = 0.75


class WorkerPool:
  """Owns every checker; any thread may call."""

  def __init__(
    self, backend: Backend, settings: CheckerSettings, stats: VerificationStats
  ):
    """Starts no checker yet."""
    self._backend = backend
    self._load_timeout_s = settings.load_timeout_s
    self._num_spares = settings.num_standby
    self._limit_bytes = int(settings.memory_gib * 2**30)
    self._stats = stats
    self._lock = threading.Lock()
    self._all: set[Checker] = set()
    self._tired: set[Checker] = set()
    # The last ones are those of the imports used last.
    self._spares: collections.deque[tuple[str, Checker]] = collections.deque()
    self._refill: concurrent.futures.Future | None = None
    self._killed = threading.Event()
    # A process ends with the thread that started it, so these threads start
    # all of them, and outlive them; no more than these import at once.
    self._starters = concurrent.futures.ThreadPoolExecutor(
      settings.max_imports, "checker-start"
    )
    self._watcher = threading.Thread(target=self._watch, daemon=True)
    self._watcher.start()

  def hire(self, imports: str, *, fresh: bool) -> Checker | Verdict:
    """A checker with the imports loaded, for the caller alone.

    Args:
      imports: import lines.
      fresh: whether it must not have checked anything yet.

    Returns:
      The checker, to be retired or released by the caller, or why there is
      none: an INFRA_ERROR.
    """
    checker = self._spare(imports, fresh=fresh)
    self._stats.count("cold_starts" if checker is None else "standby_hits")
    found = checker or self._submit(imports).result()
    if not isinstance(found, Verdict):
      self._prepare(imports)
    return found

  def release(self, imports: str, checker: Checker) -> None:
    """Takes a sound checker back, to stand by."""
    with self._lock:
      self._spares.append((imports, checker))
    self._trim()

  def retire(self, checker: Checker, cause: str) -> None:
    """Ends a checker for good, and counts why."""
    self._stats.count(f"restarts/{cause}")
    self._end(checker)

  def is_tired(self, checker: Checker) -> bool:
    """Whether it holds so much memory that it had better be replaced."""
    return checker in self._tired

  def kill(self) -> None:
    """Ends every process now; whoever waits for one gets an answer."""
    with self._lock:
      self._killed.set()
      for checker in self._all:
        checker.kill()

  def close(self) -> None:
    """Frees everything; the caller has retired or released what he hired."""
    self.kill()
    self._starters.shutdown()
    with self._lock:
      left = list(self._all)
    for checker in left:
      self._end(checker)
    self._watcher.join()

  def _submit(self, imports: str) -> concurrent.futures.Future:
    try:
      return self._starters.submit(self._start, imports)
    except RuntimeError:  # closed meanwhile
      future = concurrent.futures.Future()
      future.set_result(_infra("the pool was closed"))
      return future

  def _start(self, imports: str) -> Checker | Verdict:
    """A checker that is ready; one that breaks meanwhile is replaced once."""
    found, broken = self._try(imports)
    if broken and not self._killed.is_set():
      _log.warning("another start: %s", found.detail)
      self._stats.count("retries")
      found, _ = self._try(imports)
    return found

  def _try(self, imports: str) -> tuple[Checker | Verdict, bool]:
    """A checker or why there is none, and whether another may do better."""
    if self._killed.is_set():
      return _infra("the pool was closed"), False
    try:
      checker = self._backend.start()
    except OSError as error:
      return _infra(f"the checker does not start: {error}"), True
    with self._lock:
      self._all.add(checker)
      if self._killed.is_set():
        checker.kill()
    verdict = checker.load(imports, timeout_s=self._load_timeout_s)
    if verdict is None:
      return checker, False
    broken = checker.broken
    self._end(checker)
    if broken:
      self._stats.count("restarts/infra")
    return verdict, broken

  def _end(self, checker: Checker) -> None:
    with self._lock:
      self._all.discard(checker)
      self._tired.discard(checker)
    checker.close()

  def _spare(self, imports: str, *, fresh: bool) -> Checker | None:
    """The one that stood by last, of those that fit."""
    with self._lock:
      for pair in reversed(self._spares):
        if pair[0] == imports and not (fresh and pair[1].num_uses):
          self._spares.remove(pair)
          return pair[1]
    return None

  def _prepare(self, imports: str) -> None:
    """Sees to it that soon one stands by for these imports."""
    with self._lock:
      busy = self._refill is not None and not self._refill.done()
      there = any(one == imports for one, _ in self._spares)
      if busy or there or not self._num_spares or self._killed.is_set():
        return
      self._refill = self._submit(imports)
    self._refill.add_done_callback(
      lambda future: self._put_by(imports, future.result())
    )

  def _put_by(self, imports: str, found: Checker | Verdict) -> None:
    if isinstance(found, Verdict):
      if not self._killed.is_set():
        _log.warning("no spare checker: %s", found.detail)
    else:
      self.release(imports, found)

  def _trim(self) -> None:
    """Ends those that stood by longest, beyond the number that may."""
    while True:
      with self._lock:
        if len(self._spares) <= self._num_spares:
          return
        _, checker = self._spares.popleft()
      self._end(checker)

  def _watch(self) -> None:
    """Ends processes that take too much memory, and marks those that may."""
    while not self._killed.wait(_WATCH_S):
      with self._lock:
        pids = {checker: checker.pid for checker in self._all if checker.pid}
      usages = memory.usages(pids.values())
      for checker, pid in pids.items():
        self._mind(checker, usages[pid])

  def _mind(self, checker: Checker, usage: memory.Usage) -> None:
    with self._lock:
      if checker not in self._all:
        return
      if usage.anonymous_bytes > _TIRED * self._limit_bytes:
        self._tired.add(checker)
      is_greedy = usage.anonymous_bytes > self._limit_bytes
      if is_greedy or usage.num_processes > _MAX_PROCESSES:
        checker.starve()


def _infra(detail: str) -> Verdict:
  return Verdict(Status.INFRA_ERROR, detail=detail)
