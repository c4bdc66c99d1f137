"""Continuous-batching scheduler of one replica, on the host.

In: sequences to sample, and the outputs of dispatches. Out: a DispatchPlan for
each dispatch (which sequences are admitted to the running set, which leave it,
their block tables, prefill chunks), and the sequences that ended. It reads no
clock and never waits: the same inputs always give the same plans, so that
processes that share a replica agree on them without communication.

Planning runs one dispatch ahead of the outputs: while a dispatch is planned,
the one before it is still running. Every running sequence is therefore given
pages for both, and the running set of each dispatch in flight is kept until its
outputs have been read.

When pages run short, waiting sequences lose the pages prefilled for them;
then the running sequence that was admitted last is preempted: it goes back to
the head of the waiting queue and is computed again later.
"""

import collections
from typing import NamedTuple

from kimina_jax.rollouts.device_state import DispatchOutputs, DispatchPlan
from kimina_jax.rollouts.pages import PageAllocator, num_pages
from kimina_jax.rollouts.sequence import PrefillPages, Sequence
from kimina_jax.rollouts.settings import EngineSizes
from kimina_jax.rollouts.stops import STOPS


class WaitingSequence(NamedTuple):
  """A sequence in the waiting queue, and the pages that it waits for."""

  sequence: Sequence
  prefill_pages: PrefillPages


class Scheduler:
  """Owns the waiting queue, the running set and the pages of one replica.

  Attributes:
    waiting: the waiting queue, the next sequence to admit first.
    running: sequences that hold pages, by their index in the running set.
    pages: allocator of the KV cache.
    num_preempted: number of preemptions.
    num_computed: tokens of prefill pages that were computed ...
    num_cached: ... and that were found in the prefix cache.
  """

  def __init__(self, sizes: EngineSizes):
    self.waiting: collections.deque[WaitingSequence] = collections.deque()
    self.running: dict[int, Sequence] = {}
    self.pages = PageAllocator(sizes.num_pages)
    self.num_preempted = self.num_computed = self.num_cached = 0
    self._sizes = sizes
    self._next_admission = 0
    self._removed: list[int] = []
    # The running sets of the dispatches in flight, the oldest first.
    self._in_flight: collections.deque[dict[int, Sequence]] = (
      collections.deque()
    )
    # Preempted and aborted sequences that a dispatch in flight still runs.
    self._leaving: list[Sequence] = []

  @property
  def has_work(self) -> bool:
    """Whether a sequence is waiting or running."""
    return bool(self.waiting or self.running)

  @property
  def has_queue_room(self) -> bool:
    """Whether the waiting queue is short enough to take more sequences."""
    return len(self.waiting) < self._sizes.num_slots

  def add(self, group: list[Sequence]) -> None:
    """Appends sequences of one prompt, which share its pages, to the queue."""
    page_size = self._sizes.page_size
    shared = PrefillPages.of(group[0].prompt.tokens, page_size)
    for sequence in group:
      own = sequence.num_drawn > 0
      pages = PrefillPages.of(sequence.tokens, page_size) if own else shared
      self.waiting.append(self._waiting(sequence, pages))

  def plan(self) -> DispatchPlan:
    """Plans the next dispatch, which the caller has to start."""
    for _, prefill_pages in self.waiting:
      prefill_pages.in_plan = False
    self._evict_aborted()
    self._allocate_decode_pages()
    copies: list[tuple[int, int]] = []
    admitted: dict[int, Sequence] = {}
    for index in range(self._sizes.num_running):
      if index in self.running:
        continue
      sequence = self._admit_next(index, copies)
      if sequence is None:
        break
      admitted[index] = sequence
    chunks = self._schedule_prefill()
    removed, self._removed = self._removed, []
    self._in_flight.append(dict(self.running))
    return DispatchPlan(
      admitted=admitted,
      removed=removed,
      block_tables={i: sequence.pages for i, sequence in self.running.items()},
      copies=copies,
      chunks=chunks,
    )

  def process_outputs(
    self, outputs: DispatchOutputs
  ) -> tuple[list[Sequence], list[Sequence]]:
    """Takes the outputs of the oldest dispatch in flight.

    Args:
      outputs: of this replica alone, [T, B] and [Q].

    Returns:
      The sequences that drew tokens, and those that ended or were aborted.
    """
    drew: list[Sequence] = []
    ended: list[Sequence] = []
    for index, sequence in sorted(self._in_flight.popleft().items()):
      if sequence.stop_reason:
        continue
      mine_TB = outputs.sequence == index
      if mine_TB.any():
        sequence.append(
          outputs.tokens[mine_TB],
          outputs.logps[mine_TB],
          outputs.model_logps[mine_TB],
        )
        drew.append(sequence)
      if outputs.code[index] > 0:
        sequence.stop_reason = STOPS[outputs.code[index]]
        ended.append(sequence)
        if self.running.get(index) is sequence:
          self._remove_running(index)
    return drew, ended + self._settle_leaving()

  def abort(self, sequence: Sequence, reason: str) -> bool:
    """Ends a waiting or running sequence before it ends by itself.

    Returns:
      Whether it ended at once. A running one is among those that a later
      `process_outputs` returns, unless it has ended by itself by then.
    """
    for waiting in self.waiting:
      if waiting.sequence is sequence:
        self.waiting.remove(waiting)
        self._release_if_unused(waiting.prefill_pages)
        sequence.stop_reason = reason
        return True
    sequence.abort_reason = reason
    return False

  def _evict_aborted(self) -> None:
    """Evicts the running sequences that were aborted."""
    for index in sorted(self.running):
      if self.running[index].abort_reason:
        self._evict(index)

  def _allocate_decode_pages(self) -> None:
    """Allocates pages for this dispatch, first come, first served.

    Preempts the sequence admitted last while pages are short.
    """

    def admission(index: int) -> int:
      return self.running[index].admission

    for index in sorted(self.running, key=admission):
      sequence = self.running.get(index)
      if sequence is None:  # preempted by one that was admitted earlier
        continue
      while True:
        pages = self.pages.allocate(self._num_pages_needed(sequence))
        if pages is not None:
          sequence.pages += pages
          break
        if self._release_prefill_pages():
          continue
        victim = max(self.running, key=admission)
        self._preempt(victim)
        if victim == index:
          break

  def _num_pages_needed(self, sequence: Sequence) -> int:
    """Pages that it lacks for the dispatches in flight and this one."""
    first = len(sequence.prompt.tokens) - 1
    ahead = self._sizes.num_steps * (len(self._in_flight) + 1)
    end = first + min(sequence.num_drawn + ahead, sequence.max_len)
    needed = num_pages(end, self._sizes.page_size) - len(sequence.pages)
    return max(0, needed)

  def _admit_next(
    self, index: int, copies: list[tuple[int, int]]
  ) -> Sequence | None:
    """Moves the head of the waiting queue to the running set.

    Returns:
      The sequence; None if nothing waits, if its prefill is not scheduled yet,
      or if there are no pages for it.
    """
    if not self.waiting:
      return None
    sequence, prefill_pages = self.waiting[0]
    if prefill_pages.num_missing(self._sizes.page_size):
      return None
    num_full = len(prefill_pages.hashes)
    sequence.pages = prefill_pages.pages[:num_full]
    own = self._allocate_for_waiting(self._num_pages_needed(sequence))
    if own is None:
      sequence.pages = []
      return None
    for page in sequence.pages:
      self.pages.add_reference(page)
    if len(prefill_pages.pages) > num_full:
      copies.append((prefill_pages.pages[-1], own[0]))
    sequence.pages += own
    self.waiting.popleft()
    self._release_if_unused(prefill_pages)
    sequence.admission = self._next_admission
    self._next_admission += 1
    self.running[index] = sequence
    return sequence

  def _schedule_prefill(self) -> list[tuple[int, PrefillPages]]:
    """Pages of waiting sequences to compute in this dispatch (chunked prefill).

    No chunk is scheduled while fewer pages are missing than a dispatch has
    chunks, unless slots would be idle: the cost of a dispatch with chunks does
    not depend on how many of them are used.
    """
    chunks: list[tuple[int, PrefillPages]] = []
    sizes, prefills = self._sizes, self._next_prefills()
    missing = sum(prefill.num_missing(sizes.page_size) for prefill in prefills)
    is_short = len(self.running) < sizes.num_slots * 3 // 2
    if missing < sizes.num_chunks and not is_short:
      return chunks
    for prefill in prefills:
      self._reuse_cached_pages(prefill)
      while prefill.num_missing(sizes.page_size):
        if len(chunks) == sizes.num_chunks or not self._schedule_page(prefill):
          return chunks
        chunks.append((len(prefill.pages) - 1, prefill))
    return chunks

  def _next_prefills(self) -> list[PrefillPages]:
    """Prefill pages of the next sequences in the queue, those shared once."""
    count = min(len(self.waiting), 2 * self._sizes.num_slots)
    prefills = (self.waiting[i].prefill_pages for i in range(count))
    return list(dict.fromkeys(prefills))

  def _reuse_cached_pages(self, prefill: PrefillPages) -> None:
    """Takes the next pages from the prefix cache, while it has them."""
    while len(prefill.pages) < len(prefill.hashes):
      page = self.pages.find(prefill.hashes[len(prefill.pages)])
      if page is None:
        return
      prefill.pages.append(page)
      prefill.in_plan = True
      self.num_cached += self._sizes.page_size

  def _schedule_page(self, prefill: PrefillPages) -> bool:
    """Schedules one more page to compute; False if no page is free for it."""
    pages = self._allocate_for_waiting(1)
    if pages is None:
      return False
    place, page_size = len(prefill.pages), self._sizes.page_size
    if place < len(prefill.hashes):
      self.pages.cache(pages[0], prefill.hashes[place])
    prefill.pages += pages
    prefill.in_plan = True
    rest = len(prefill.tokens) - place * page_size
    self.num_computed += min(rest, page_size)
    return True

  def _allocate_for_waiting(self, count: int) -> list[int] | None:
    """Pages for the waiting queue; None if they would not leave a reserve.

    The reserve is a page for each running sequence, which will need one soon.
    If none is running, the head of the queue gets what there is.
    """
    num_running = len(self.running)
    if num_running and self.pages.num_free < count + num_running:
      return None
    while self.pages.num_free < count:
      if not self._release_prefill_pages(keep=self.waiting[0].prefill_pages):
        return None
    return self.pages.allocate(count)

  def _release_prefill_pages(self, keep: PrefillPages | None = None) -> bool:
    """Frees the pages of the last sequence in the queue that has some."""
    for _, prefill in reversed(self.waiting):
      if prefill.pages and prefill is not keep and not prefill.in_plan:
        self.pages.free(prefill.pages)
        prefill.pages = []
        return True
    return False

  def _preempt(self, index: int) -> None:
    """Evicts a running sequence for lack of pages; it is computed again later.

    `_settle_leaving` puts it back at the head of the waiting queue.
    """
    self.num_preempted += 1
    self._evict(index)

  def _evict(self, index: int) -> None:
    """Removes a sequence from the running set while dispatches run it.

    It is requeued or ended when their outputs have been read.
    """
    self._leaving.append(self.running[index])
    self._removed.append(index)
    self._remove_running(index)

  def _remove_running(self, index: int) -> None:
    """Removes a sequence from the running set and frees its pages."""
    sequence = self.running.pop(index)
    self.pages.free(sequence.pages)
    sequence.pages = []

  def _settle_leaving(self) -> list[Sequence]:
    """Ends or requeues evicted sequences that no dispatch runs any more.

    Returns:
      The aborted ones, which end here; preempted ones are waiting again.
    """
    ended: list[Sequence] = []
    leaving, self._leaving = self._leaving, []
    for sequence in leaving:
      if any(sequence in running.values() for running in self._in_flight):
        self._leaving.append(sequence)
      elif sequence.stop_reason:
        continue  # it ended by itself before it was removed
      elif sequence.abort_reason:
        sequence.stop_reason = sequence.abort_reason
        ended.append(sequence)
      else:
        pages = PrefillPages.of(sequence.tokens, self._sizes.page_size)
        self.waiting.appendleft(self._waiting(sequence, pages))
    return ended

  def _waiting(
    self, sequence: Sequence, prefill_pages: PrefillPages
  ) -> WaitingSequence:
    prefill_pages.num_waiting += 1
    return WaitingSequence(sequence, prefill_pages)

  def _release_if_unused(self, prefill_pages: PrefillPages) -> None:
    """Decrements num_waiting; frees the pages if no sequence waits for them.

    An admitted sequence keeps its pages by references of its own.
    """
    prefill_pages.num_waiting -= 1
    if not prefill_pages.num_waiting:
      self.pages.free(prefill_pages.pages)
      prefill_pages.pages = []
