"""A thread pool for pieces of work, bounded by their bytes, with progress.

In: pieces, the bytes of each, and a function of one. Out: the results, in the
order of completion, while the bytes of the pieces in flight stay below a bound.
Progress is a bar on a terminal, else a line every ten seconds. The first error
or signal ends it.
"""

import concurrent.futures
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import rich.progress

from kimina_jax.infra import interruption

Piece = TypeVar("Piece")
Output = TypeVar("Output")

_NUM_THREADS = 4
_LINE_EVERY_S = 10.0


def stream(
  work: Callable[[Piece], Output],
  pieces: Sequence[tuple[Piece, int]],
  *,
  title: str,
  max_bytes: int,
) -> Iterator[tuple[Piece, Output]]:
  """Calls `work` on every piece in threads; yields pieces with their results.

  Args:
    work: called in threads.
    pieces: each with its number of bytes.
    title: name of the work on the display.
    max_bytes: bound of the pieces in flight; a larger piece runs alone.

  Raises:
    Interrupted: a signal has arrived.
  """
  gate = _Gate(max_bytes)

  def admit(piece: Piece, num_bytes: int) -> Output:
    with gate.admit(num_bytes):
      return work(piece)

  total = sum(num_bytes for _, num_bytes in pieces)
  pool = concurrent.futures.ThreadPoolExecutor(_NUM_THREADS)
  try:
    futures = {
      pool.submit(admit, piece, num_bytes): (piece, num_bytes)
      for piece, num_bytes in pieces
    }
    with _progress(title, total) as advance:
      for future in concurrent.futures.as_completed(futures):
        piece, num_bytes = futures[future]
        interruption.check()
        result = future.result()
        advance(num_bytes)
        yield piece, result
  finally:
    pool.shutdown(cancel_futures=True)


class _Gate:
  """A semaphore that counts bytes."""

  def __init__(self, num_bytes: int):
    self._total = num_bytes
    self._free = num_bytes
    self._changed = threading.Condition()

  @contextlib.contextmanager
  def admit(self, num_bytes: int) -> Iterator[None]:
    num_bytes = min(num_bytes, self._total)
    with self._changed:
      self._changed.wait_for(lambda: self._free >= num_bytes)
      self._free -= num_bytes
    try:
      yield
    finally:
      with self._changed:
        self._free += num_bytes
        self._changed.notify_all()


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
  """Yields a function to call with the bytes of each piece that is done."""
  if not sys.stdout.isatty():
    yield _lines(title, total)
    return
  columns = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.BarColumn(bar_width=None),
    rich.progress.DownloadColumn(binary_units=True),
    rich.progress.TransferSpeedColumn(),
    rich.progress.TimeRemainingColumn(),
  )
  with rich.progress.Progress(*columns, expand=True) as display:
    task = display.add_task(title, total=total)
    yield lambda num_bytes: display.advance(task, num_bytes)


def _lines(title: str, total: int) -> Callable[[int], None]:
  done = 0
  started_s = shown_s = time.monotonic()

  def advance(num_bytes: int) -> None:
    nonlocal done, shown_s
    done += num_bytes
    now_s = time.monotonic()
    if done < total and now_s < shown_s + _LINE_EVERY_S:
      return
    shown_s = now_s
    left_s = (now_s - started_s) * (total - done) / max(done, 1)
    print(
      f"{title}  {done / 2**30:.2f} of {total / 2**30:.2f} GiB"
      f"  {left_s:.0f} s left",
      flush=True,
    )

  return advance
