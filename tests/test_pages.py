"""Pages of the cache, against a list of records that knows no shortcut."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings, stateful
from hypothesis import strategies as st

from kimina_jax.rollouts.pages import (
  Pages,
  contents,
  num_pages,
  pages_of_cache,
)
from kimina_jax.types import UsageError

_NUM_PAGES = 5
_NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])


@dataclasses.dataclass
class _Record:
  """One page, as the reference sees it."""

  page: int
  owners: int = 0
  content: bytes | None = None
  free_since: int = 0


class _Reference(stateful.RuleBasedStateMachine):
  """Each rule does the same to the pages and to the records."""

  def __init__(self):
    super().__init__()
    self.pages = Pages(_NUM_PAGES)
    self.records = [_Record(page) for page in range(_NUM_PAGES)]
    self.clock = itertools.count(1)
    self.peak = 0

  def owned(self) -> list[_Record]:
    return [record for record in self.records if record.owners]

  @stateful.rule(count=st.integers(0, _NUM_PAGES + 1))
  def take(self, count):
    """Those that hold nothing first, then those let go of longest ago."""
    free = [record for record in self.records if not record.owners]
    got = self.pages.take(count)
    if count > len(free):
      assert got is None
      return
    free.sort(key=lambda r: (r.content is not None, r.free_since, r.page))
    assert got == [record.page for record in free[:count]]
    for record in free[:count]:
      record.owners, record.content = 1, None

  @stateful.rule(name=_NAMES)
  def find(self, name):
    found = [record for record in self.records if record.content == name]
    got = self.pages.find(name)
    assert got == (found[0].page if found else None)
    for record in found:
      record.owners += 1

  @stateful.precondition(owned)
  @stateful.rule(data=st.data())
  def share(self, data):
    record = data.draw(st.sampled_from(self.owned()))
    self.pages.share(record.page)
    record.owners += 1

  @stateful.precondition(owned)
  @stateful.rule(data=st.data(), name=_NAMES)
  def publish(self, data, name):
    record = data.draw(st.sampled_from(self.owned()))
    self.pages.publish(record.page, name)
    known = {other.content for other in self.records}
    if record.content is None and name not in known:
      record.content = name

  @stateful.precondition(owned)
  @stateful.rule(data=st.data())
  def release(self, data):
    chosen = data.draw(st.lists(st.sampled_from(self.owned()), unique_by=id))
    self.pages.release([record.page for record in chosen])
    for record in chosen:
      record.owners -= 1
      if not record.owners:
        record.free_since = next(self.clock)

  @stateful.invariant()
  def counts_agree(self):
    self.peak = max(self.peak, len(self.owned()))
    assert self.pages.num_free == _NUM_PAGES - len(self.owned())
    assert self.pages.peak == self.peak


_Reference.TestCase.settings = settings(
  max_examples=200, stateful_step_count=40, deadline=None
)
TestPages = _Reference.TestCase


def test_nobody_releases_what_nobody_owns():
  pages = Pages(2)
  (page,) = pages.take(1)
  pages.release([page])
  with pytest.raises(AssertionError, match=f"page {page} has no owner"):
    pages.release([page])


_TOKENS = st.lists(st.integers(0, 2), max_size=14)


@given(first=_TOKENS, second=_TOKENS, page_size=st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_contents_are_equal_where_all_up_to_them_is(first, second, page_size):
  names = [contents(np.array(t, np.int64), page_size) for t in (first, second)]
  assert [len(n) for n in names] == [
    len(tokens) // page_size for tokens in (first, second)
  ]
  for page, (mine, other) in enumerate(zip(*names, strict=False)):
    end = (page + 1) * page_size
    assert (mine == other) == (first[:end] == second[:end])


def test_contents_do_not_depend_on_how_the_tokens_lie():
  tokens = np.arange(40, dtype=np.int32)[::2]
  assert contents(tokens, 4) == contents(tokens.astype(np.int64).copy(), 4)


@pytest.mark.parametrize(
  "length, page_size, expected", [(0, 4, 0), (1, 4, 1), (4, 4, 1), (9, 4, 3)]
)
def test_num_pages(length, page_size, expected):
  assert num_pages(length, page_size) == expected


@pytest.mark.parametrize(
  "cache_tokens, expected", [(0, 24), (48, 6), (53, 6), (800, 100)]
)
def test_pages_of_cache(cache_tokens, expected):
  """40 positions are five pages of 8; each of four slots has one more."""
  found = pages_of_cache(cache_tokens, page_size=8, longest=40, num_slots=4)
  assert found == expected


def test_a_cache_without_room_for_the_longest_is_refused():
  sizes = {"page_size": 8, "longest": 41, "num_slots": 4}
  assert pages_of_cache(56, **sizes) == 7
  words = "cache_tokens is 55, which is 6 pages of 8; .* needs 7: .* 56, or 0"
  with pytest.raises(UsageError, match=words):
    pages_of_cache(55, **sizes)
