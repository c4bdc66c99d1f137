"""Page allocator of the KV cache of one replica, on the host.

In: requests for pages, and hashes of what pages will hold. Out: page numbers.
Pages are reference-counted: sequences of one prompt share its full pages, and
so do prompts with a common prefix (prefix caching). A page without references
stays in the prefix cache until its place is needed; the one freed longest ago
is evicted first. It never touches the device.
"""

import collections
import hashlib

import numpy as np


class PageAllocator:
  """Allocates the pages of one replica and finds cached ones by their hash.

  Attributes:
    peak: the largest number of referenced pages so far.
  """

  def __init__(self, num_pages: int):
    self._num_references = np.zeros(num_pages, np.int32)
    self._uncached = collections.deque(range(num_pages))
    # The prefix cache: hash → page, and back. Its pages without a reference
    # are in `_unreferenced` too, the one freed longest ago first.
    self._page_of: dict[bytes, int] = {}
    self._hash_of: dict[int, bytes] = {}
    self._unreferenced: collections.OrderedDict[int, None] = (
      collections.OrderedDict()
    )
    self.peak = 0

  @property
  def num_free(self) -> int:
    """Number of pages without a reference, cached ones included."""
    return len(self._uncached) + len(self._unreferenced)

  def allocate(self, count: int) -> list[int] | None:
    """Pages with one reference each; None if there are not enough."""
    if count > self.num_free:
      return None
    return [self._allocate_one() for _ in range(count)]

  def find(self, page_hash: bytes) -> int | None:
    """The cached page with this hash, with one more reference, or None."""
    page = self._page_of.get(page_hash)
    if page is not None:
      self.add_reference(page)
    return page

  def add_reference(self, page: int) -> None:
    """Counts one more reference to an allocated or cached page."""
    self._unreferenced.pop(page, None)
    self._num_references[page] += 1
    self._update_peak()

  def cache(self, page: int, page_hash: bytes) -> None:
    """Adds a page to the prefix cache; from now on its content must not change.

    Does nothing if the page or the hash is cached already.
    """
    if page_hash not in self._page_of and page not in self._hash_of:
      self._page_of[page_hash] = page
      self._hash_of[page] = page_hash

  def free(self, pages: list[int]) -> None:
    """Removes one reference to each page.

    Raises:
      AssertionError: a page has no reference.
    """
    for page in pages:
      self._num_references[page] -= 1
      if self._num_references[page] < 0:
        raise AssertionError(f"page {page} is freed without a reference to it")
      if self._num_references[page]:
        continue
      if page in self._hash_of:
        self._unreferenced[page] = None
      else:
        self._uncached.append(page)

  def _allocate_one(self) -> int:
    """A free page: an uncached one, else the cached one freed longest ago."""
    if self._uncached:
      page = self._uncached.popleft()
    else:
      page, _ = self._unreferenced.popitem(last=False)
      del self._page_of[self._hash_of.pop(page)]
    self._num_references[page] = 1
    self._update_peak()
    return page

  def _update_peak(self) -> None:
    num_referenced = len(self._num_references) - self.num_free
    self.peak = max(self.peak, num_referenced)


def page_hashes(tokens: np.ndarray, page_size: int) -> list[bytes]:
  """Hash of each full page of a sequence, which covers all tokens before it."""
  hashes, digest = [], b""
  for end in range(page_size, len(tokens) + 1, page_size):
    part = np.ascontiguousarray(tokens[end - page_size : end], np.int32)
    digest = hashlib.sha256(digest + part.tobytes()).digest()
    hashes.append(digest)
  return hashes


def num_pages(length: int, page_size: int) -> int:
  """Number of pages that hold `length` positions."""
  return -(-length // page_size)
