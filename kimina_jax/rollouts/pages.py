"""Who owns which page of the KV cache: the host's side of it.

In: requests for pages, and what they will hold. Out: page numbers. A page may
have several owners, as rollouts of one prompt and prompts that begin alike
share their full pages; one that nobody owns any more is still found by what it
holds until its place is needed. Never touches the device.
"""

import collections
import hashlib

import numpy as np

from kimina_jax.types import UsageError


class Pages:
  """Owns the page numbers of one replica.

  Attributes:
    peak: the most pages that were owned at a time.
  """

  def __init__(self, num_pages: int):
    self._owners = np.zeros(num_pages, np.int32)
    self._blank = collections.deque(range(num_pages))
    # Content → page, and back. Pages without an owner stand in `_idle` too, the
    # one let go of longest ago first.
    self._known: dict[bytes, int] = {}
    self._content: dict[int, bytes] = {}
    self._idle: collections.OrderedDict[int, None] = collections.OrderedDict()
    self.peak = 0

  @property
  def num_free(self) -> int:
    """How many can be taken."""
    return len(self._blank) + len(self._idle)

  def take(self, count: int) -> list[int] | None:
    """Pages with one owner each, or None if there are not as many."""
    if count > self.num_free:
      return None
    return [self._take_one() for _ in range(count)]

  def find(self, content: bytes) -> int | None:
    """A page that holds this, with one owner more; None if there is none."""
    page = self._known.get(content)
    if page is not None:
      self.share(page)
    return page

  def share(self, page: int) -> None:
    """One owner more."""
    self._idle.pop(page, None)
    self._owners[page] += 1
    self._note()

  def publish(self, page: int, content: bytes) -> None:
    """Others may find it from now on: what it holds does not change."""
    if content not in self._known and page not in self._content:
      self._known[content] = page
      self._content[page] = content

  def release(self, pages: list[int]) -> None:
    """One owner less, each."""
    for page in pages:
      self._owners[page] -= 1
      if self._owners[page] < 0:
        raise AssertionError(f"page {page} has no owner to release it")
      if self._owners[page]:
        continue
      if page in self._content:
        self._idle[page] = None
      else:
        self._blank.append(page)

  def _take_one(self) -> int:
    if self._blank:
      page = self._blank.popleft()
    else:
      page, _ = self._idle.popitem(last=False)
      del self._known[self._content.pop(page)]
    self._owners[page] = 1
    self._note()
    return page

  def _note(self) -> None:
    used = len(self._owners) - self.num_free
    self.peak = max(self.peak, used)


def contents(tokens: np.ndarray, page_size: int) -> list[bytes]:
  """Names of what the full pages of a sequence hold, each with all before."""
  names, digest = [], b""
  for end in range(page_size, len(tokens) + 1, page_size):
    part = np.ascontiguousarray(tokens[end - page_size : end], np.int32)
    digest = hashlib.sha256(digest + part.tobytes()).digest()
    names.append(digest)
  return names


def num_pages(length: int, page_size: int) -> int:
  """Pages that hold so many positions."""
  return -(-length // page_size)


def pages_of_cache(
  cache_tokens: int, *, page_size: int, longest: int, num_slots: int
) -> int:
  """Pages of one replica.

  Args:
    cache_tokens: positions to hold; 0 is `num_slots` sequences at their
      longest.
    page_size: S.
    longest: positions of the longest sequence.
    num_slots: of one replica.

  Raises:
    UsageError: they do not hold the longest sequence.
  """
  # One more: while a prompt is shared, its last page has a copy.
  least = num_pages(longest, page_size) + 1
  if not cache_tokens:
    return num_slots * least
  found = cache_tokens // page_size
  if found < least:
    raise UsageError(
      f"rollouts.cache_tokens is {cache_tokens}, which is {found} pages of"
      f" {page_size}; the longest rollout needs {least}: choose at least"
      f" {least * page_size}, or 0 for room for all slots"
    )
  return found
