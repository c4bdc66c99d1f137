"""The scheduler, driven by a device in plain Python that runs its plans.

A cell of the device's cache holds a hash of all tokens up to its own, so that a
wrong page, copy or chunk is noticed where it is read.
"""

import collections
import dataclasses
import itertools
import random

import numpy as np

from kimina_jax.rollouts.device_state import DispatchOutputs
from kimina_jax.rollouts.pages import num_pages
from kimina_jax.rollouts.scheduler import Scheduler
from kimina_jax.rollouts.sequence import (
  Sequence,
  new_sequences,
  resume_sequence,
)
from kimina_jax.rollouts.settings import EngineSizes
from kimina_jax.types import Problem, Prompt, Rollout

_NUM_WORKLOADS = 1500
_STOP, _LENGTH = 1, 3  # indices of stops.STOPS


def test_random_workloads():
  seen = collections.Counter()
  for seed in range(_NUM_WORKLOADS):
    host, ends = _workload(seed)
    order = host.waiting()
    host.run()
    _assert_complete(host, ends)
    scheduler, stops = host.scheduler, {s.stop_reason for s in host.ended}
    if not scheduler.num_preempted and stops <= {"stop", "length"}:
      assert host.admitted == order
      seen["in order"] += 1
    seen.update(stops)
    seen["preempted"] += bool(scheduler.num_preempted)
    seen["cached"] += bool(scheduler.num_cached)
    seen["copies"] += any(plan[3] for plan in host.plans)
    seen["carried"] += any(sequence.num_carried for sequence in host.ended)
  # The workloads cover all these events.
  assert len(seen) == 9 and min(seen.values()) > _NUM_WORKLOADS / 20, seen


def test_the_same_inputs_give_the_same_plans():
  for seed in range(200):
    first, second = (_workload(seed)[0] for _ in range(2))
    first.run(), second.run()
    assert first.plans == second.plans


def test_a_prompt_is_computed_once_and_its_full_pages_are_shared():
  """Ten tokens, of which nine are prefilled: two pages of 4 and a rest."""
  tokens = np.arange(10, dtype=np.int32)
  host = _host([tokens], per_prompt=3, num_slots=3, page_size=4)
  host.run()
  chunks = [chunk for plan in host.plans for chunk in plan[4]]
  assert [page for page, _ in chunks] == [0, 1, 2]
  assert host.scheduler.num_computed == 9 and host.scheduler.num_cached == 0
  copies = [copy for plan in host.plans for copy in plan[3]]
  ((source,), targets) = map(set, zip(*copies, strict=True))
  assert source == chunks[2][1][2] and len(targets) == 3
  tables = next(plan[2] for plan in host.plans if plan[0])
  assert len({tuple(pages[:2]) for pages in tables.values()}) == 1
  assert {pages[2] for pages in tables.values()} == targets


def test_prompts_with_a_common_prefix_share_their_full_pages():
  stem = np.arange(9, dtype=np.int32)
  prompts = [np.append(stem, tail).astype(np.int32) for tail in ([5], [6, 7])]
  host = _host(prompts, per_prompt=1, num_slots=2, page_size=4)
  host.run()
  # Nine and ten tokens are needed; the second prompt finds two pages of 4.
  assert host.scheduler.num_computed == 9 + 2
  assert host.scheduler.num_cached == 8


def test_the_sequence_admitted_last_is_preempted_and_readmitted_first():
  """Two slots, whose rollouts come to need three of six pages each."""
  tokens = np.zeros(1, np.int32)
  host = _host(
    [tokens], per_prompt=4, num_slots=2, page_size=4, num_pages=6, length=11
  )
  host.run()
  # The third was preempted, and is readmitted before the fourth.
  assert host.scheduler.num_preempted == 1
  assert host.admitted == [0, 1, 2, 2, 3]
  _assert_complete(host, dict.fromkeys(range(4), 11))


@dataclasses.dataclass
class _Running:
  """A running sequence, as the device keeps it."""

  hashes: list[int]  # of the tokens up to each one, the next to feed included
  tokens: list[int]
  num_drawn: int
  source: Sequence
  admission: int
  code: int = 0


class _Device:
  """Keeps pages and the running set; draws the tokens of `_draw`."""

  def __init__(self, sizes: dict[str, int], ends: dict[int, int]):
    self._sizes, self._ends = sizes, ends
    self._running: list[_Running | None] = [None] * sizes["num_running"]
    shape = (sizes["num_pages"], sizes["page_size"])
    self._cells = [[0] * shape[1] for _ in range(shape[0])]

  def dispatch(self, plan) -> DispatchOutputs:
    """As slots.py and programs.py."""
    for source, target in plan.copies:
      self._cells[target] = list(self._cells[source])
    for index in plan.removed:
      self._running[index] = None
    for index, sequence in plan.admitted.items():
      tokens = [*sequence.prompt.tokens.tolist(), *sequence.response.tolist()]
      self._running[index] = _Running(
        _hashes(tokens),
        tokens,
        sequence.num_drawn,
        sequence,
        sequence.admission,
      )
    alive = {
      i
      for i, sequence in enumerate(self._running)
      if sequence and not sequence.code
    }
    assert alive <= set(plan.block_tables)
    queue = collections.deque(sorted(alive, key=self._admission))
    slots = [self._next(queue) for _ in range(self._sizes["num_slots"])]
    steps = []
    # With chunks a dispatch is one step.
    for _ in range(1 if plan.chunks else self._sizes["num_steps"]):
      if not plan.chunks and all(slot is None for slot in slots):
        break
      steps.append(self._step(plan, slots, plan.chunks))
      for place, index in enumerate(slots):
        if index is None or self._running[index].code:
          slots[place] = self._next(queue)
    return self._outputs(steps)

  def _admission(self, index: int) -> int:
    return self._running[index].admission

  @staticmethod
  def _next(queue) -> int | None:
    return queue.popleft() if queue else None

  def _step(self, plan, slots, chunks) -> list[tuple[int, int]]:
    """Stores all tokens, then checks what each sequence can see."""
    size, written, seen = self._sizes["page_size"], [], []
    for page, prefill_pages in chunks:
      hashes = _hashes(prefill_pages.tokens.tolist())
      seen.append((prefill_pages.pages, hashes[: (page + 1) * size]))
      for at in range(page * size, min(len(hashes), (page + 1) * size)):
        written.append((prefill_pages.pages[at // size], at % size, hashes[at]))
    for index in slots:
      if index is not None:
        hashes, table = self._running[index].hashes, plan.block_tables[index]
        seen.append((table, hashes))
        at = len(hashes) - 1
        written.append((table[at // size], at % size, hashes[at]))
        _assert_sole_owner(plan, index, table[at // size])
    places = [place[:2] for place in written]
    assert len(set(places)) == len(places)
    for page, offset, token_hash in written:
      self._cells[page][offset] = token_hash
    for table, hashes in seen:
      cells = itertools.chain(*(self._cells[page] for page in table))
      assert list(itertools.islice(cells, len(hashes))) == hashes
    return [self._advance(index) for index in slots if index is not None]

  def _advance(self, index: int) -> tuple[int, int]:
    sequence = self._running[index]
    token = _draw(sequence.source.index, sequence.num_drawn)
    sequence.num_drawn += 1
    sequence.tokens.append(token)
    sequence.hashes.append(hash((sequence.hashes[-1], token)))
    if sequence.num_drawn == self._ends[sequence.source.index]:
      sequence.code = _STOP
    elif sequence.num_drawn == sequence.source.max_len:
      sequence.code = _LENGTH
    return index, token

  def _outputs(self, steps) -> DispatchOutputs:
    none = len(self._running)
    shape = (self._sizes["num_steps"], self._sizes["num_slots"])
    sequence_TB, tokens_TB = np.full(shape, none), np.zeros(shape, np.int32)
    for t, step in enumerate(steps):
      for slot, (index, token) in enumerate(step):
        sequence_TB[t, slot], tokens_TB[t, slot] = index, token
    logps_TB = tokens_TB.astype(np.float32)
    code_Q = np.array(
      [sequence.code if sequence else -1 for sequence in self._running]
    )
    return DispatchOutputs(
      tokens_TB, logps_TB, logps_TB, sequence_TB, code_Q, False
    )


def _assert_sole_owner(plan, index: int, page: int) -> None:
  """No other sequence reads or writes a page that a running one writes."""
  for other, table in plan.block_tables.items():
    assert page not in table or other == index


def _hashes(tokens: list[int]) -> list[int]:
  hashes, token_hash = [], 0
  for token in tokens:
    token_hash = hash((token_hash, token))
    hashes.append(token_hash)
  return hashes


def _draw(index: int, drawn: int) -> int:
  return (7 * index + 3 * drawn) % 5


class _Host:
  """The turns of a GenerationStream, reading outputs `late` dispatches late."""

  def __init__(self, sizes, groups, ends, rng, *, events, budget, late=1):
    self.scheduler = Scheduler(_engine_sizes(sizes))
    self.sizes, self._rng, self._events = sizes, rng, events
    self._groups = collections.deque(groups)
    self._sequences = [sequence for group in groups for sequence in group]
    self._device, self._budget = _Device(sizes, ends), budget
    self._late = late
    self._in_flight: collections.deque[DispatchOutputs] = collections.deque()
    self.ended: list[Sequence] = []
    self.plans: list[tuple] = []
    self.admitted: list[int] = []

  def waiting(self) -> list[int]:
    """Indices of the sequences in the order of the queue."""
    return [sequence.index for group in self._groups for sequence in group]

  def run(self) -> None:
    scheduler = self.scheduler
    limit = 60 * (2 + len(self._sequences))
    while self._groups or not _is_done(scheduler):
      assert len(self.plans) < limit, "the run does not end"
      while scheduler.has_queue_room and self._groups:
        scheduler.add(self._groups.popleft())
      has_work = scheduler.has_work
      if has_work:
        self._in_flight.append(self._device.dispatch(self._plan()))
      if self._in_flight and (
        not has_work or len(self._in_flight) > self._late
      ):
        _, ended = scheduler.process_outputs(self._in_flight.popleft())
        self.ended += ended
      self._check_pages()
      self._intervene()

  def _plan(self):
    plan = self.scheduler.plan()
    self.admitted += [
      sequence.index for _, sequence in sorted(plan.admitted.items())
    ]
    new = {index: sequence.index for index, sequence in plan.admitted.items()}
    chunks = [
      (page, list(prefill_pages.pages)) for page, prefill_pages in plan.chunks
    ]
    tables = {index: list(pages) for index, pages in plan.block_tables.items()}
    self.plans.append((new, list(plan.removed), tables, plan.copies, chunks))
    for index, sequence in plan.admitted.items():
      assert plan.block_tables[index] is sequence.pages
    self._check_pages()
    self._check_writers(plan)
    return plan

  def _check_pages(self) -> None:
    """Pages in use are not free, and all others are."""
    running = self.scheduler.running.values()
    held = {page for sequence in running for page in sequence.pages}
    for _, prefill_pages in self.scheduler.waiting:
      held |= set(prefill_pages.pages)
    num_held = self.sizes["num_pages"] - self.scheduler.pages.num_free
    assert num_held == len(held)

  def _check_writers(self, plan) -> None:
    """No waiting prompt holds a page that a running sequence will write."""
    size = self.sizes["page_size"]
    for sequence in self.scheduler.running.values():
      first_written = sequence.position // size
      for _, prefill_pages in self.scheduler.waiting:
        assert not set(sequence.pages[first_written:]) & set(
          prefill_pages.pages
        )
    for _, prefill_pages in plan.chunks:
      assert prefill_pages.num_waiting

  def _intervene(self) -> None:
    if self._rng.random() < self._events:
      sequence = self._rng.choice(self._sequences)
      if not sequence.stop_reason:
        self._remove(sequence, "cancelled")
    num_drawn = sum(
      sequence.num_drawn - sequence.num_carried for sequence in self._sequences
    )
    if 0 < self._budget <= num_drawn:
      for sequence in self._sequences:
        if not (sequence.stop_reason or sequence.abort_reason):
          self._remove(sequence, "budget")

  def _remove(self, sequence, stop: str) -> None:
    for group in self._groups:
      if sequence in group:
        group.remove(sequence)
        sequence.stop_reason = stop
        self.ended.append(sequence)
        if not group:
          self._groups.remove(group)
        return
    if self.scheduler.abort(sequence, stop):
      self.ended.append(sequence)


def _workload(seed: int):
  """A host with random sizes and sequences, ready to run."""
  rng = random.Random(seed)
  num_slots, page_size = rng.randint(1, 4), rng.randint(1, 5)
  longest_prompt, longest_response = rng.randint(1, 12), rng.randint(1, 20)
  least = num_pages(longest_prompt + longest_response, page_size) + 1
  sizes = {
    "num_slots": num_slots,
    "num_running": 2 * num_slots,
    "num_pages": rng.choice((least, least + 1, 2 * num_slots * least)),
    "page_size": page_size,
    "num_steps": rng.randint(1, 6),
    "num_chunks": rng.randint(1, 5),
  }
  # Few tokens and a common stem, so that cached pages are found.
  stem = [rng.randrange(2) for _ in range(longest_prompt)]
  prompts = []
  for _ in range(rng.randint(1, 5)):
    tail = [rng.randrange(2) for _ in range(rng.randint(1, longest_prompt))]
    tokens = (stem[: rng.randint(0, longest_prompt)] + tail)[-longest_prompt:]
    prompts.append(Prompt(Problem("", "", ""), "", np.array(tokens, np.int32)))
  per_prompt = rng.randint(1, 4)
  count = len(prompts) * per_prompt
  ends = {
    sequence: rng.randint(1, longest_response + 9) for sequence in range(count)
  }
  max_lens = [
    rng.randint(-(-longest_response // 2), longest_response)
    for _ in range(count)
  ]
  groups = new_sequences(
    prompts,
    range(len(prompts)),
    num_per_prompt=per_prompt,
    iteration=0,
    max_len=max_lens,
  )
  groups = _begin_some(groups, ends, rng)
  goal = rng.randint(1, 40) if rng.random() < 0.3 else 0
  events = rng.choice((0.0, 0.15))
  late = rng.choice((0, 1, 1, 1, 2))
  host = _Host(sizes, groups, ends, rng, events=events, budget=goal, late=late)
  return host, ends


def _host(prompts, *, per_prompt, length=3, num_pages=64, **sizes):
  """A deterministic device: sequences end with token number `length`."""
  prompts = [Prompt(Problem("", "", ""), "", tokens) for tokens in prompts]
  count = len(prompts) * per_prompt
  groups = new_sequences(
    prompts,
    range(len(prompts)),
    num_per_prompt=per_prompt,
    iteration=0,
    max_len=length,
  )
  sizes |= {
    "num_running": 2 * sizes["num_slots"],
    "num_pages": num_pages,
    "num_steps": 2,
    "num_chunks": 8,
  }
  ends = dict.fromkeys(range(count), length)
  rng = random.Random(0)
  return _Host(sizes, groups, ends, rng, events=0, budget=0)


def _begin_some(groups, ends, rng):
  """Some sequences were left unfinished by an earlier call."""
  fresh, begun = [], []
  for group in groups:
    for sequence in list(group):
      most = min(ends[sequence.index], sequence.max_len) - 1
      if rng.random() < 0.15 and most:
        drawn = range(rng.randint(0, most))
        tokens = np.array([_draw(sequence.index, t) for t in drawn], np.int32)
        logps = tokens.astype(np.float32)
        rollout = Rollout(
          sequence.prompt, sequence.index, tokens, logps, logps, "", "budget"
        )
        group.remove(sequence)
        begun.append([resume_sequence(rollout, sequence.max_len)])
    if group:
      fresh.append(group)
  return begun + fresh


def _is_done(scheduler: Scheduler) -> bool:
  """Nothing waits or runs, and no evicted sequence is still to be settled."""
  return not (scheduler.has_work or scheduler._leaving)


def _engine_sizes(sizes: dict[str, int]) -> EngineSizes:
  return EngineSizes(**sizes, table_len=0, dispatch_widths=())


def _assert_complete(host, ends) -> None:
  """Every sequence ended once, for its own reason, with its own tokens."""
  assert sorted(sequence.index for sequence in host.ended) == sorted(ends)
  for sequence in host.ended:
    response = sequence.response.tolist()
    assert response == [_draw(sequence.index, t) for t in range(len(response))]
    full = min(ends[sequence.index], sequence.max_len)
    if sequence.stop_reason in ("cancelled", "budget"):
      assert len(response) < full
    else:
      assert sequence.stop_reason == (
        "stop" if ends[sequence.index] == full else "length"
      )
      assert len(response) == full
    logps = sequence.to_rollout("").logps
    np.testing.assert_array_equal(logps, np.array(response, np.float32))
    assert not sequence.pages
  assert host.scheduler.pages.num_free == host.sizes["num_pages"]
