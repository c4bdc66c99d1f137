"""Which rollout has which pages and goes on when: the host's side, per replica.

In: rows in line, and what the last dispatches drew. Out: orders for the device,
and the rows that ended. Reads no clock and never waits: the same inputs always
give the same orders, so that processes that share a replica agree on them.

The host is one dispatch late: while it prepares one, the one before is still
running. So every resident is given pages for both, and what an index of the
residents means is kept with each dispatch until its trace is in.

Pages run short: prefixes that wait in line give up theirs, then the resident
admitted last goes back into line, to be computed again.
"""

import collections
import dataclasses

import numpy as np

from kimina_jax.rollouts.pages import Pages, num_pages
from kimina_jax.rollouts.sequence import Prefix, Row, make_prefix
from kimina_jax.rollouts.state import Trace
from kimina_jax.rollouts.stops import STOPS


@dataclasses.dataclass(frozen=True)
class Plan:
  """What one replica is to do in the next dispatch.

  Attributes:
    new: residents by index who come in.
    gone: indices of residents who leave.
    tables: pages of every resident, by index.
    copies: from which page to which.
    chunks: page number within its prefix, and the prefix.
  """

  new: dict[int, Row]
  gone: list[int]
  tables: dict[int, list[int]]
  copies: list[tuple[int, int]]
  chunks: list[tuple[int, Prefix]]


class Schedule:
  """Owns the line, the residents and the pages of one replica.

  Attributes:
    line: rows that wait, the next one first.
    residents: rows that have pages, by index.
    pages: who owns which.
    num_preempted: how often a resident had to go back into line.
    num_computed: tokens of prefixes that were computed ...
    num_found: ... and that were found in the cache, when first needed.
  """

  def __init__(
    self,
    *,
    num_lanes: int,
    num_residents: int,
    num_pages: int,
    page_size: int,
    num_steps: int,
    num_chunks: int,
  ):
    self.line: collections.deque[Row] = collections.deque()
    self.residents: list[Row | None] = [None] * num_residents
    self.pages = Pages(num_pages)
    self.num_preempted = self.num_computed = self.num_found = 0
    self._num_lanes, self._page_size = num_lanes, page_size
    self._num_steps, self._num_chunks = num_steps, num_chunks
    self._serial = 0
    self._gone: list[int] = []
    # Residents of the dispatches whose traces are not in, the oldest first.
    self._flights: collections.deque[list[Row | None]] = collections.deque()
    self._leaving: list[Row] = []

  @property
  def num_resident(self) -> int:
    return sum(row is not None for row in self.residents)

  @property
  def is_done(self) -> bool:
    """Nobody is in line or resident, and no trace is missing that matters."""
    return not (self.line or self.num_resident or self._leaving)

  @property
  def is_hungry(self) -> bool:
    """Whether more rows should join the line."""
    return len(self.line) < self._num_lanes

  def join(self, rows: list[Row]) -> None:
    """Rows go to the end of the line; those of one prompt share its prefix."""
    prefix = make_prefix(rows[0].prompt.tokens, self._page_size)
    for row in rows:
      self._wait(row, None if row.num_drawn else prefix)
      self.line.append(row)

  def plan(self) -> Plan:
    """Decides the next dispatch, which has to follow."""
    copies: list[tuple[int, int]] = []
    new: dict[int, Row] = {}
    for row in self.line:
      row.prefix.fresh = False
    self._dismiss()
    self._grow()
    for index, resident in enumerate(self.residents):
      if resident is None and not self._admit(index, copies):
        break
      if resident is None:
        new[index] = self.residents[index]
    chunks = self._order_chunks()
    gone, self._gone = self._gone, []
    self._flights.append(list(self.residents))
    tables = {
      index: row.pages for index, row in enumerate(self.residents) if row
    }
    return Plan(new, gone, tables, copies, chunks)

  def collect(self, trace: Trace) -> tuple[list[Row], list[Row]]:
    """Takes in the trace of the oldest dispatch that is still out.

    Args:
      trace: of this replica alone, its arrays [T, B] and [R].

    Returns:
      The rows that drew tokens, and those that ended or left.
    """
    flight, drew, ended = self._flights.popleft(), [], []
    for index, row in enumerate(flight):
      if row is None or row.stop:
        continue
      mine_TB = trace.resident_TEB == index
      if mine_TB.any():
        row.add(*(x_TB[mine_TB] for x_TB in trace[:3]))
        drew.append(row)
      if trace.code_ER[index] > 0:
        row.stop = STOPS[trace.code_ER[index]]
        ended.append(row)
        if self.residents[index] is row:
          self._free(index)
    return drew, ended + self._settle()

  def remove(self, row: Row, stop: str) -> Row | None:
    """Ends a row from outside.

    Returns:
      The row if it ended at once; else it is among those that a later trace
      ends, unless it has ended by itself by then.
    """
    if row in self.line:
      self.line.remove(row)
      self._unwait(row)
      row.stop = stop
      return row
    row.leave = stop
    return None

  def _dismiss(self) -> None:
    """Residents who were told to leave do."""
    for index, row in enumerate(self.residents):
      if row is not None and row.leave:
        self._vacate(index)

  def _grow(self) -> None:
    """Residents get pages for this dispatch, who came first first."""
    for index in sorted(
      (i for i, row in enumerate(self.residents) if row),
      key=lambda i: self.residents[i].serial,
    ):
      row = self.residents[index]
      if row is None:  # it went to make room
        continue
      while (more := self.pages.take(self._num_wanted(row))) is None:
        if self._drop_prefix():
          continue
        victim = max(
          (i for i, other in enumerate(self.residents) if other),
          key=lambda i: self.residents[i].serial,
        )
        self.num_preempted += 1
        self._vacate(victim)
        if victim == index:
          break
      if more:
        row.pages += more

  def _num_wanted(self, row: Row) -> int:
    """Pages that it lacks for all dispatches that are out, and this one."""
    first = len(row.prompt.tokens) - 1
    ahead = self._num_steps * (len(self._flights) + 1)
    end = first + min(row.num_drawn + ahead, row.max_len)
    return max(0, num_pages(end, self._page_size) - len(row.pages))

  def _admit(self, index: int, copies: list[tuple[int, int]]) -> bool:
    """The first in line becomes a resident, if it can."""
    if not self.line:
      return False
    row = self.line[0]
    prefix = row.prefix
    if prefix.num_missing(self._page_size):
      return False
    num_full = len(prefix.contents)
    row.pages = prefix.pages[:num_full]
    wanted = self._num_wanted(row)
    more = self.pages.take(wanted) if self._has_room(wanted) else None
    if more is None:
      row.pages = []
      return False
    for page in row.pages:
      self.pages.share(page)
    if len(prefix.pages) > num_full:
      copies.append((prefix.pages[-1], more[0]))
    row.pages = row.pages + more
    self.line.popleft()
    self._unwait(row)
    row.serial, self._serial = self._serial, self._serial + 1
    self.residents[index] = row
    return True

  def _order_chunks(self) -> list[tuple[int, Prefix]]:
    """Pages of the prefixes in line, as many as there are chunks.

    Not a few at a time, unless lanes would fall idle: a chunk costs what it
    costs, however full.
    """
    chunks: list[tuple[int, Prefix]] = []
    near = self._prefixes()
    missing = sum(p.num_missing(self._page_size) for p in near)
    is_short = self.num_resident < self._num_lanes * 3 // 2
    if missing < self._num_chunks and not is_short:
      return chunks
    for prefix in near:
      self._find(prefix)
      while prefix.num_missing(self._page_size):
        if len(chunks) == self._num_chunks or not self._order(prefix):
          return chunks
        chunks.append((len(prefix.pages) - 1, prefix))
    return chunks

  def _prefixes(self) -> dict[Prefix, None]:
    """Those that the next rows in line need, each once."""
    count = min(len(self.line), 2 * self._num_lanes)
    return dict.fromkeys(self.line[i].prefix for i in range(count))

  def _find(self, prefix: Prefix) -> None:
    """Takes the next pages that are in the cache already."""
    while len(prefix.pages) < len(prefix.contents):
      page = self.pages.find(prefix.contents[len(prefix.pages)])
      if page is None:
        return
      prefix.pages.append(page)
      prefix.fresh = True
      self.num_found += self._page_size

  def _order(self, prefix: Prefix) -> bool:
    """Has one more page of a prefix computed, if there is one free."""
    if not self._has_room(1):
      return False
    (page,) = self.pages.take(1)
    place = len(prefix.pages)
    if place < len(prefix.contents):
      self.pages.publish(page, prefix.contents[place])
    prefix.pages.append(page)
    prefix.fresh = True
    rest = len(prefix.tokens) - place * self._page_size
    self.num_computed += min(rest, self._page_size)
    return True

  def _has_room(self, count: int) -> bool:
    """Whether so many pages may be taken for who is not resident yet.

    Residents will want more soon. Without any, the first in line has to get
    what there is.
    """
    num_resident = self.num_resident
    if num_resident:
      return self.pages.num_free >= count + num_resident
    while self.pages.num_free < count:
      if not self._drop_prefix(keep=self.line[0].prefix):
        return False
    return True

  def _drop_prefix(self, keep: Prefix | None = None) -> bool:
    """The last prefix in line that has pages gives them up."""
    for row in reversed(self.line):
      if row.prefix.pages and row.prefix is not keep and not row.prefix.fresh:
        self.pages.release(row.prefix.pages)
        row.prefix.pages = []
        return True
    return False

  def _vacate(self, index: int) -> None:
    """A resident leaves; what it is still drawing counts."""
    self._leaving.append(self.residents[index])
    self._gone.append(index)
    self._free(index)

  def _free(self, index: int) -> None:
    row = self.residents[index]
    self.residents[index] = None
    self.pages.release(row.pages)
    row.pages = []

  def _settle(self) -> list[Row]:
    """Rows that left and whose traces are in end, or go back into line."""
    ended, leaving = [], self._leaving
    self._leaving = []
    for row in leaving:
      if any(row in flight for flight in self._flights):
        self._leaving.append(row)
      elif row.stop:
        continue  # it ended by itself, on its way out
      elif row.leave:
        row.stop = row.leave
        ended.append(row)
      else:
        self._wait(row, None)
        self.line.appendleft(row)
    return ended

  def _wait(self, row: Row, prefix: Prefix | None) -> None:
    if prefix is None:
      tokens = np.concatenate((row.prompt.tokens, row.response))
      prefix = make_prefix(tokens, self._page_size)
    row.prefix = prefix
    prefix.num_users += 1

  def _unwait(self, row: Row) -> None:
    """A prefix that nobody in line needs lets go of its pages."""
    prefix, row.prefix = row.prefix, None
    prefix.num_users -= 1
    if not prefix.num_users:
      self.pages.release(prefix.pages)
      prefix.pages = []
