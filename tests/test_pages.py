"""The page allocator against a plain list of records."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings, stateful
from hypothesis import strategies as st

from kimina_jax.rollouts.pages import PageAllocator, num_pages, page_hashes
from kimina_jax.rollouts.settings import num_cache_pages
from kimina_jax.types import UsageError

_NUM_PAGES = 5
_NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])


@dataclasses.dataclass
class _Record:
  """One page, as the reference keeps it."""

  page: int
  references: int = 0
  page_hash: bytes | None = None
  freed_at: int = 0


class _Reference(stateful.RuleBasedStateMachine):
  """Each rule applies one operation to the allocator and to the records."""

  def __init__(self):
    super().__init__()
    self.pages = PageAllocator(_NUM_PAGES)
    self.records = [_Record(page) for page in range(_NUM_PAGES)]
    self.clock = itertools.count(1)
    self.peak = 0

  def referenced(self) -> list[_Record]:
    return [record for record in self.records if record.references]

  @stateful.rule(count=st.integers(0, _NUM_PAGES + 1))
  def allocate(self, count):
    """Blank pages first, then the cached one that was freed longest ago."""
    free = [record for record in self.records if not record.references]
    got = self.pages.allocate(count)
    if count > len(free):
      assert got is None
      return
    free.sort(key=lambda r: (r.page_hash is not None, r.freed_at, r.page))
    assert got == [record.page for record in free[:count]]
    for record in free[:count]:
      record.references, record.page_hash = 1, None

  @stateful.rule(name=_NAMES)
  def find(self, name):
    found = [record for record in self.records if record.page_hash == name]
    got = self.pages.find(name)
    assert got == (found[0].page if found else None)
    for record in found:
      record.references += 1

  @stateful.precondition(referenced)
  @stateful.rule(data=st.data())
  def add_reference(self, data):
    record = data.draw(st.sampled_from(self.referenced()))
    self.pages.add_reference(record.page)
    record.references += 1

  @stateful.precondition(referenced)
  @stateful.rule(data=st.data(), name=_NAMES)
  def cache(self, data, name):
    record = data.draw(st.sampled_from(self.referenced()))
    self.pages.cache(record.page, name)
    known = {other.page_hash for other in self.records}
    if record.page_hash is None and name not in known:
      record.page_hash = name

  @stateful.precondition(referenced)
  @stateful.rule(data=st.data())
  def free(self, data):
    chosen = data.draw(
      st.lists(st.sampled_from(self.referenced()), unique_by=id)
    )
    self.pages.free([record.page for record in chosen])
    for record in chosen:
      record.references -= 1
      if not record.references:
        record.freed_at = next(self.clock)

  @stateful.invariant()
  def counts_agree(self):
    self.peak = max(self.peak, len(self.referenced()))
    assert self.pages.num_free == _NUM_PAGES - len(self.referenced())
    assert self.pages.peak == self.peak


_Reference.TestCase.settings = settings(
  max_examples=200, stateful_step_count=40, deadline=None
)
TestPages = _Reference.TestCase


def test_a_page_without_references_cannot_be_freed():
  pages = PageAllocator(2)
  (page,) = pages.allocate(1)
  pages.free([page])
  with pytest.raises(
    AssertionError, match=f"page {page} is freed without a reference"
  ):
    pages.free([page])


_TOKENS = st.lists(st.integers(0, 2), max_size=14)


@given(first=_TOKENS, second=_TOKENS, page_size=st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_hashes_are_equal_where_all_tokens_before_are(first, second, page_size):
  names = [
    page_hashes(np.array(t, np.int64), page_size) for t in (first, second)
  ]
  assert [len(n) for n in names] == [
    len(tokens) // page_size for tokens in (first, second)
  ]
  for page, (mine, other) in enumerate(zip(*names, strict=False)):
    end = (page + 1) * page_size
    assert (mine == other) == (first[:end] == second[:end])


def test_hashes_do_not_depend_on_the_array_of_the_tokens():
  tokens = np.arange(40, dtype=np.int32)[::2]
  assert page_hashes(tokens, 4) == page_hashes(
    tokens.astype(np.int64).copy(), 4
  )


@pytest.mark.parametrize(
  "length, page_size, expected", [(0, 4, 0), (1, 4, 1), (4, 4, 1), (9, 4, 3)]
)
def test_num_pages(length, page_size, expected):
  assert num_pages(length, page_size) == expected


@pytest.mark.parametrize(
  "cache_tokens, expected", [(0, 24), (48, 6), (53, 6), (800, 100)]
)
def test_num_cache_pages(cache_tokens, expected):
  """40 positions are five pages of 8; each of four slots has one more."""
  found = num_cache_pages(
    cache_tokens, page_size=8, max_sequence_len=40, num_slots=4
  )
  assert found == expected


def test_a_cache_without_room_for_the_longest_is_refused():
  sizes = {"page_size": 8, "max_sequence_len": 41, "num_slots": 4}
  assert num_cache_pages(56, **sizes) == 7
  words = "cache_tokens is 55, which is 6 pages of 8; .* needs 7: .* 56, or 0"
  with pytest.raises(UsageError, match=words):
    num_cache_pages(55, **sizes)
