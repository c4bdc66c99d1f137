"""Reads and writes regions of tensors in safetensors files.

In: files, or names, dtypes and shapes of new tensors. Out: any rectangular
region of any tensor, read or written in place. It is thread-safe, and takes
as much memory as the region has bytes: files are not memory-mapped, because
mapped pages would count as memory of the process.

A file is the length of its header (8 bytes, little-endian), the header (JSON:
name → dtype, shape, start and end offset), then the values, row-major.
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from kimina_jax.types import UsageError

Region = Sequence[slice]  # start and stop along each dim

# Dtypes of models, by their names in the format.
FORMAT_DTYPES = {
  "F32": np.dtype(np.float32),
  "BF16": np.dtype(ml_dtypes.bfloat16),
}
_SPELLING = {dtype: name for name, dtype in FORMAT_DTYPES.items()}
_ALIGNMENT = 8  # of the values


class Tensor(NamedTuple):
  """A tensor's place in an open file.

  Attributes:
    file: file descriptor.
    offset: of its first byte.
    dtype: the format's name of it, which may be none of FORMAT_DTYPES.
    shape: its sizes.
  """

  file: int
  offset: int
  dtype: str
  shape: tuple[int, ...]


@contextlib.contextmanager
def open_file(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
  """Opens a file for reading and gives its tensors by name.

  Raises:
    UsageError: the file is damaged or shorter than its header says.
  """
  file = os.open(path, os.O_RDONLY)
  try:
    try:
      tensors = _parse(file)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise UsageError(
        f"{path} is truncated or damaged ({error}): copy it again"
      ) from error
    yield tensors
  finally:
    os.close(file)


@contextlib.contextmanager
def create_file(
  path: pathlib.Path, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype
) -> Iterator[dict[str, Tensor]]:
  """Creates a file for writing and gives its tensors by name.

  Its disk space is allocated at once, so that a full disk is an OSError at the
  start. The file is synced to disk at the end of the context.
  """
  file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
  try:
    # transformers rejects a file without a format.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    size = 0
    for name, shape in shapes.items():
      stop = size + math.prod(shape) * dtype.itemsize
      entry = {"dtype": _SPELLING[dtype], "shape": list(shape)}
      header[name] = entry | {"data_offsets": [size, stop]}
      size = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    head = len(text).to_bytes(8, "little") + text
    os.posix_fallocate(file, 0, len(head) + size)
    _write_bytes(file, memoryview(head), 0)
    yield _parse(file)
    os.fsync(file)
  finally:
    os.close(file)


def read_region(tensor: Tensor, region: Region) -> np.ndarray:
  """A region of a tensor, as a new array."""
  extents = [part.stop - part.start for part in region]
  array = np.empty(extents, FORMAT_DTYPES[tensor.dtype])
  data = array.reshape(-1).view(np.uint8).data
  length, offsets = _runs(tensor, region)
  for begin, offset in zip(itertools.count(0, length), offsets, strict=False):
    _read_bytes(tensor.file, data[begin : begin + length], offset)
  return array


def write_region(tensor: Tensor, region: Region, array: np.ndarray) -> None:
  """Writes an array of the tensor's dtype to a region of the tensor."""
  data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
  length, offsets = _runs(tensor, region)
  for begin, offset in zip(itertools.count(0, length), offsets, strict=False):
    _write_bytes(tensor.file, data[begin : begin + length], offset)


def _runs(tensor: Tensor, region: Region) -> tuple[int, Iterator[int]]:
  """Length in bytes of a region's contiguous runs, and the offset of each."""
  stride = FORMAT_DTYPES[tensor.dtype].itemsize
  strides: list[int] = []
  for size in reversed(tensor.shape):
    strides.insert(0, stride)
    stride *= size
  inner = len(tensor.shape)  # dims from here on are whole in the region
  while inner and region[inner - 1] == slice(0, tensor.shape[inner - 1]):
    inner -= 1
  # A range of the dim before those is contiguous, too.
  outer = max(inner - 1, 0)
  length = FORMAT_DTYPES[tensor.dtype].itemsize
  for part in region[outer:]:
    length *= part.stop - part.start
  start = tensor.offset + sum(
    part.start * step
    for part, step in zip(region[outer:], strides[outer:], strict=True)
  )
  rows = (
    range(part.start * step, part.stop * step, step)
    for part, step in zip(region[:outer], strides[:outer], strict=True)
  )
  return length, (start + sum(index) for index in itertools.product(*rows))


def _parse(file: int) -> dict[str, Tensor]:
  """Reads the header; a fault in it is an error with the reason."""
  size = os.fstat(file).st_size
  if size < 8:
    raise ValueError(f"it has {size} bytes")
  length = int.from_bytes(os.pread(file, 8, 0), "little")
  if 8 + length > size:
    raise ValueError(f"its header should have {length} bytes")
  header = bytearray(length)
  _read_bytes(file, memoryview(header), 8)
  entries = json.loads(header)
  entries.pop("__metadata__", None)
  tensors: dict[str, Tensor] = {}
  spans: list[tuple[int, int]] = []
  for name, entry in entries.items():
    start, stop = entry["data_offsets"]
    shape = tuple(entry["shape"])
    dtype = FORMAT_DTYPES.get(entry["dtype"])
    if dtype and stop - start != math.prod(shape) * dtype.itemsize:
      raise ValueError(f"{name} has {stop - start} bytes and shape {shape}")
    spans.append((start, stop))
    tensors[name] = Tensor(file, 8 + length + start, entry["dtype"], shape)
  end = 0
  for start, stop in sorted(spans):
    if start != end or stop < start:
      raise ValueError(f"its tensors overlap or leave a gap at byte {start}")
    end = stop
  if end != size - 8 - length:
    raise ValueError(f"it has {size - 8 - length} bytes of values, not {end}")
  return tensors


def _read_bytes(file: int, data: memoryview, offset: int) -> None:
  while data:
    count = os.preadv(file, [data], offset)
    if not count:
      raise OSError(f"a file became shorter while it was read, at {offset}")
    data, offset = data[count:], offset + count


def _write_bytes(file: int, data: memoryview, offset: int) -> None:
  while data:
    count = os.pwrite(file, data, offset)
    data, offset = data[count:], offset + count
