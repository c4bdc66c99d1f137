"""The scheduler, driven by a device of plain Python that obeys its plans.

A cell of the device's cache holds the name of all tokens up to its own, so
whatever a wrong page, copy or chunk would change is seen by who reads it.
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
    _assert_whole(host, ends)
    schedule, stops = host.schedule, {row.stop for row in host.ended}
    if not schedule.num_preempted and stops <= {"stop", "length"}:
      assert host.admitted == order
      seen["in line"] += 1
    seen.update(stops)
    seen["preempted"] += bool(schedule.num_preempted)
    seen["found"] += bool(schedule.num_cached)
    seen["copies"] += any(plan[3] for plan in host.plans)
    seen["carried"] += any(row.num_carried for row in host.ended)
  # What these workloads are there for does happen.
  assert len(seen) == 9 and min(seen.values()) > _NUM_WORKLOADS / 20, seen


def test_the_same_inputs_give_the_same_plans():
  for seed in range(200):
    first, second = (_workload(seed)[0] for _ in range(2))
    first.run(), second.run()
    assert first.plans == second.plans


def test_a_prompt_is_computed_once_and_all_but_its_last_page_is_shared():
  """Ten tokens, of which nine are the prefix: two pages of 4 and a rest."""
  tokens = np.arange(10, dtype=np.int32)
  host = _host([tokens], per_prompt=3, num_slots=3, page_size=4)
  host.run()
  chunks = [chunk for plan in host.plans for chunk in plan[4]]
  assert [page for page, _ in chunks] == [0, 1, 2]
  assert host.schedule.num_computed == 9 and host.schedule.num_cached == 0
  copies = [copy for plan in host.plans for copy in plan[3]]
  ((source,), targets) = map(set, zip(*copies, strict=True))
  assert source == chunks[2][1][2] and len(targets) == 3
  tables = next(plan[2] for plan in host.plans if plan[0])
  assert len({tuple(pages[:2]) for pages in tables.values()}) == 1
  assert {pages[2] for pages in tables.values()} == targets


def test_prompts_that_begin_alike_share_their_full_pages():
  stem = np.arange(9, dtype=np.int32)
  prompts = [np.append(stem, tail).astype(np.int32) for tail in ([5], [6, 7])]
  host = _host(prompts, per_prompt=1, num_slots=2, page_size=4)
  host.run()
  # Nine and ten tokens of prefix; the second finds two pages of 4.
  assert host.schedule.num_computed == 9 + 2
  assert host.schedule.num_cached == 8


def test_whoever_came_last_makes_room_and_goes_on_next():
  """Two slots, whose rollouts come to need three of six pages each."""
  tokens = np.zeros(1, np.int32)
  host = _host(
    [tokens], per_prompt=4, num_slots=2, page_size=4, num_pages=6, length=11
  )
  host.run()
  # The third waited beside them with a page, and goes before the fourth.
  assert host.schedule.num_preempted == 1
  assert host.admitted == [0, 1, 2, 2, 3]
  _assert_whole(host, dict.fromkeys(range(4), 11))


@dataclasses.dataclass
class _Seat:
  """A resident, as the device keeps it."""

  names: list[int]  # of the tokens up to each one, the next to feed included
  tokens: list[int]
  num_drawn: int
  row: Sequence
  admission: int
  code: int = 0


class _Device:
  """Keeps pages and residents; draws what `_draw` says."""

  def __init__(self, sizes: dict[str, int], ends: dict[int, int]):
    self._sizes, self._ends = sizes, ends
    self._seats: list[_Seat | None] = [None] * sizes["num_running"]
    shape = (sizes["num_pages"], sizes["page_size"])
    self._cells = [[0] * shape[1] for _ in range(shape[0])]

  def dispatch(self, plan) -> DispatchOutputs:
    """What slots.py and programs.py say they do."""
    for source, target in plan.copies:
      self._cells[target] = list(self._cells[source])
    for index in plan.removed:
      self._seats[index] = None
    for index, row in plan.admitted.items():
      tokens = [*row.prompt.tokens.tolist(), *row.response.tolist()]
      self._seats[index] = _Seat(
        _names(tokens), tokens, row.num_drawn, row, row.admission
      )
    alive = {i for i, seat in enumerate(self._seats) if seat and not seat.code}
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
        if index is None or self._seats[index].code:
          slots[place] = self._next(queue)
    return self._trace(steps)

  def _admission(self, index: int) -> int:
    return self._seats[index].admission

  @staticmethod
  def _next(queue) -> int | None:
    return queue.popleft() if queue else None

  def _step(self, plan, slots, chunks) -> list[tuple[int, int]]:
    """Stores all, then lets everybody look at what it may see."""
    size, written, seen = self._sizes["page_size"], [], []
    for page, prefix in chunks:
      names = _names(prefix.tokens.tolist())
      seen.append((prefix.pages, names[: (page + 1) * size]))
      for at in range(page * size, min(len(names), (page + 1) * size)):
        written.append((prefix.pages[at // size], at % size, names[at]))
    for index in slots:
      if index is not None:
        names, table = self._seats[index].names, plan.block_tables[index]
        seen.append((table, names))
        at = len(names) - 1
        written.append((table[at // size], at % size, names[at]))
        _assert_sole_owner(plan, index, table[at // size])
    places = [place[:2] for place in written]
    assert len(set(places)) == len(places)
    for page, offset, name in written:
      self._cells[page][offset] = name
    for table, names in seen:
      cells = itertools.chain(*(self._cells[page] for page in table))
      assert list(itertools.islice(cells, len(names))) == names
    return [self._advance(index) for index in slots if index is not None]

  def _advance(self, index: int) -> tuple[int, int]:
    seat = self._seats[index]
    token = _draw(seat.row.index, seat.num_drawn)
    seat.num_drawn += 1
    seat.tokens.append(token)
    seat.names.append(hash((seat.names[-1], token)))
    if seat.num_drawn == self._ends[seat.row.index]:
      seat.code = _STOP
    elif seat.num_drawn == seat.row.max_len:
      seat.code = _LENGTH
    return index, token

  def _trace(self, steps) -> DispatchOutputs:
    none = len(self._seats)
    shape = (self._sizes["num_steps"], self._sizes["num_slots"])
    sequence_TB, tokens_TB = np.full(shape, none), np.zeros(shape, np.int32)
    for t, step in enumerate(steps):
      for slot, (index, token) in enumerate(step):
        sequence_TB[t, slot], tokens_TB[t, slot] = index, token
    logps_TB = tokens_TB.astype(np.float32)
    code_Q = np.array([seat.code if seat else -1 for seat in self._seats])
    return DispatchOutputs(
      tokens_TB, logps_TB, logps_TB, sequence_TB, code_Q, False
    )


def _assert_sole_owner(plan, index: int, page: int) -> None:
  """Nobody else reads or writes a page that a resident writes."""
  for other, table in plan.block_tables.items():
    assert page not in table or other == index


def _names(tokens: list[int]) -> list[int]:
  names, name = [], 0
  for token in tokens:
    name = hash((name, token))
    names.append(name)
  return names


def _draw(row: int, drawn: int) -> int:
  return (7 * row + 3 * drawn) % 5


class _Host:
  """Turns like those of generation.py, `late` dispatches late."""

  def __init__(self, sizes, groups, ends, rng, *, events, budget, late=1):
    self.schedule = Scheduler(_engine_sizes(sizes))
    self.sizes, self._rng, self._events = sizes, rng, events
    self._groups = collections.deque(groups)
    self._rows = [row for group in groups for row in group]
    self._device, self._budget = _Device(sizes, ends), budget
    self._late = late
    self._in_flight: collections.deque[DispatchOutputs] = collections.deque()
    self.ended: list[Sequence] = []
    self.plans: list[tuple] = []
    self.admitted: list[int] = []

  def waiting(self) -> list[int]:
    """Rows in the order in which they stand in line."""
    return [row.index for group in self._groups for row in group]

  def run(self) -> None:
    schedule = self.schedule
    limit = 60 * (2 + len(self._rows))
    while self._groups or not _is_done(schedule):
      assert len(self.plans) < limit, "it never ends"
      while schedule.has_queue_room and self._groups:
        schedule.add(self._groups.popleft())
      has_work = schedule.has_work
      if has_work:
        self._in_flight.append(self._device.dispatch(self._plan()))
      if self._in_flight and (
        not has_work or len(self._in_flight) > self._late
      ):
        _, ended = schedule.process_outputs(self._in_flight.popleft())
        self.ended += ended
      self._check_pages()
      self._intervene()

  def _plan(self):
    plan = self.schedule.plan()
    self.admitted += [row.index for _, row in sorted(plan.admitted.items())]
    new = {index: row.index for index, row in plan.admitted.items()}
    chunks = [(page, list(prefix.pages)) for page, prefix in plan.chunks]
    tables = {index: list(pages) for index, pages in plan.block_tables.items()}
    self.plans.append((new, list(plan.removed), tables, plan.copies, chunks))
    for index, row in plan.admitted.items():
      assert plan.block_tables[index] is row.pages
    self._check_pages()
    self._check_writers(plan)
    return plan

  def _check_pages(self) -> None:
    """What somebody holds is not free, and nothing else is kept."""
    running = self.schedule.running.values()
    held = {page for row in running for page in row.pages}
    for _, prompt_pages in self.schedule.waiting:
      held |= set(prompt_pages.pages)
    num_held = self.sizes["num_pages"] - self.schedule.pages.num_free
    assert num_held == len(held)

  def _check_writers(self, plan) -> None:
    """No prefix holds a page that a resident is going to write."""
    size = self.sizes["page_size"]
    for row in self.schedule.running.values():
      first_written = row.position // size
      for _, prompt_pages in self.schedule.waiting:
        assert not set(row.pages[first_written:]) & set(prompt_pages.pages)
    for _, prefix in plan.chunks:
      assert prefix.num_waiting

  def _intervene(self) -> None:
    if self._rng.random() < self._events:
      row = self._rng.choice(self._rows)
      if not row.stop:
        self._remove(row, "cancelled")
    num_drawn = sum(row.num_drawn - row.num_carried for row in self._rows)
    if 0 < self._budget <= num_drawn:
      for row in self._rows:
        if not (row.stop or row.abort_reason):
          self._remove(row, "budget")

  def _remove(self, row, stop: str) -> None:
    for group in self._groups:
      if row in group:
        group.remove(row)
        row.stop = stop
        self.ended.append(row)
        if not group:
          self._groups.remove(group)
        return
    if self.schedule.abort(row, stop):
      self.ended.append(row)


def _workload(seed: int):
  """A random size of everything, and a host that is ready to run."""
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
  # Few tokens and a common stem, so that pages are found again.
  stem = [rng.randrange(2) for _ in range(longest_prompt)]
  prompts = []
  for _ in range(rng.randint(1, 5)):
    tail = [rng.randrange(2) for _ in range(rng.randint(1, longest_prompt))]
    tokens = (stem[: rng.randint(0, longest_prompt)] + tail)[-longest_prompt:]
    prompts.append(Prompt(Problem("", "", ""), "", np.array(tokens, np.int32)))
  per_prompt = rng.randint(1, 4)
  count = len(prompts) * per_prompt
  ends = {row: rng.randint(1, longest_response + 9) for row in range(count)}
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
  """Nothing random: all rows end with their token of number `length`."""
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
  """Some rows were left unfinished by a call before."""
  fresh, begun = [], []
  for group in groups:
    for row in list(group):
      most = min(ends[row.index], row.max_len) - 1
      if rng.random() < 0.15 and most:
        drawn = range(rng.randint(0, most))
        tokens = np.array([_draw(row.index, t) for t in drawn], np.int32)
        logps = tokens.astype(np.float32)
        rollout = Rollout(
          row.prompt, row.index, tokens, logps, logps, "", "budget"
        )
        group.remove(row)
        begun.append([resume_sequence(rollout, row.max_len)])
    if group:
      fresh.append(group)
  return begun + fresh


def _is_done(scheduler: Scheduler) -> bool:
  """Nothing waits or runs, and no evicted sequence is still to be settled."""
  return not (scheduler.has_work or scheduler._leaving)


def _engine_sizes(sizes: dict[str, int]) -> EngineSizes:
  return EngineSizes(**sizes, table_len=0, dispatch_widths=())


def _assert_whole(host, ends) -> None:
  """Every row ended once, for its own reason, with its own tokens."""
  assert sorted(row.index for row in host.ended) == sorted(ends)
  for row in host.ended:
    response = row.response.tolist()
    assert response == [_draw(row.index, t) for t in range(len(response))]
    full = min(ends[row.index], row.max_len)
    if row.stop in ("cancelled", "budget"):
      assert len(response) < full
    else:
      assert row.stop == ("stop" if ends[row.index] == full else "length")
      assert len(response) == full
    logps = row.to_rollout("").logps
    np.testing.assert_array_equal(logps, np.array(response, np.float32))
    assert not row.pages
  assert host.schedule.pages.num_free == host.sizes["num_pages"]
