"""Rows made in processes of their own, a few at a time.

In: Cases. Out: rows, as each is done. A process that dies is a row that says
how. Leaves no process behind.
"""

import concurrent.futures
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from kimina_jax.scale import topologies
from kimina_jax.scale.cases import Case
from kimina_jax.scale.store import Row

_WORKER = "kimina_jax.scale.worker"


def make_rows(
  cases: Sequence[Case], *, measure: bool, jobs: int, timeout_s: float
) -> Iterator[tuple[Case, Row]]:
  """Yields each case with its row, in the order in which they are done.

  Args:
    cases: what to compile or to run.
    measure: run the programs instead of predicting them.
    jobs: processes at a time.
    timeout_s: for one row.
  """
  running = _Running()
  pool = concurrent.futures.ThreadPoolExecutor(jobs)
  futures = {
    pool.submit(_make_row, case, measure, timeout_s, running): case
    for case in cases
  }
  try:
    for future in concurrent.futures.as_completed(futures):
      yield futures[future], future.result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
    running.end()
    pool.shutdown()


class _Running:
  """Owns the processes; none is started after the end."""

  def __init__(self) -> None:
    self._processes: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._ended = False

  def start(self, environment: dict[str, str]) -> subprocess.Popen | None:
    with self._lock:
      if self._ended:
        return None
      process = subprocess.Popen(
        [sys.executable, "-m", _WORKER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
      )
      self._processes.add(process)
      return process

  def end(self) -> None:
    with self._lock:
      self._ended = True
      for process in self._processes:
        process.kill()


def _make_row(
  case: Case, measure: bool, timeout_s: float, running: _Running
) -> Row:
  request = {"case": dataclasses.asdict(case), "measure": measure}
  topology = topologies.parse(case.topology)
  process = running.start({**os.environ, **topologies.environment(topology)})
  if process is None:
    return {}
  try:
    out, log = process.communicate(json.dumps(request), timeout=timeout_s)
  except subprocess.TimeoutExpired:
    process.kill()
    process.communicate()
    return _failed(case, measure, f"no row after {timeout_s:.0f} s")
  if process.returncode == 0 and out.strip():
    return json.loads(out.splitlines()[-1])
  return _failed(case, measure, _why(process.returncode, log))


def _why(code: int, log: str) -> str:
  """What killed the process, and its last words."""
  name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
  words = [line for line in log.splitlines() if line.strip()]
  checks = [line for line in words if "Check failed" in line]
  return f"{name}: " + " | ".join((checks or words)[-3:])[-1000:]


def _failed(case: Case, measure: bool, error: str) -> Row:
  return {
    "key": case.key,
    "kind": "measured" if measure else "predicted",
    "case": dataclasses.asdict(case),
    "status": "failed",
    "error": error,
  }
