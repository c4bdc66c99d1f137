"""Two sets of weights on disk, tensor by tensor.

In: two open Weights. Out: the tensors that differ, and by how much. Values are
compared by their bits; of two dtypes, in float32, which holds both. Never
holds more than a few pieces of a tensor.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kimina_jax.convert.weights import Weights
from kimina_jax.infra.stream import stream
from kimina_jax.model import hf_weights
from kimina_jax.model.safetensors_io import Region

_PIECE_BYTES = 2**25
_MAX_BYTES = 2**27


class Difference(NamedTuple):
  """What differs in a tensor.

  Attributes:
    num_values: that differ.
    largest: |a − b|; infinite where one of them is no number.
  """

  num_values: int
  largest: float


def compare(a: Weights, b: Weights) -> dict[str, str]:
  """What differs, in words, by Hugging Face's names of the tensors.

  Args:
    a: some weights.
    b: others.
  """
  faults = _missing(a, b, "B") | _missing(b, a, "A")
  common = [name for name in a.leaves if _shape(a, name) == _shape(b, name)]
  for name in a.leaves.keys() & b.leaves.keys() - set(common):
    words = f"has sizes {_shape(a, name)} in A, {_shape(b, name)} in B"
    faults |= dict.fromkeys(hf_weights.tensor_names(a.leaves[name]), words)
  found: dict[str, Difference] = {}
  for _, differences in stream(
    lambda piece: _compare_region(a, b, *piece),
    [piece for name in common for piece in _pieces(a, b, name)],
    title="compared",
    max_bytes=_MAX_BYTES,
  ):
    for tensor, (num_values, largest) in differences.items():
      before = found.get(tensor, Difference(0, 0.0))
      found[tensor] = Difference(
        before.num_values + num_values, max(before.largest, largest)
      )
  return faults | {
    tensor: f"largest difference {largest:.6g}, {num_values} values differ"
    for tensor, (num_values, largest) in found.items()
  }


def _missing(a: Weights, b: Weights, where: str) -> dict[str, str]:
  return {
    tensor: f"is not in {where}"
    for name in a.leaves.keys() - b.leaves.keys()
    for tensor in hf_weights.tensor_names(a.leaves[name])
  }


def _shape(weights: Weights, name: str) -> dict[str, int] | None:
  leaf = weights.leaves.get(name)
  return leaf and dict(zip(leaf.dims, leaf.shape, strict=True))


def _pieces(
  a: Weights, b: Weights, name: str
) -> list[tuple[tuple[str, Region], int]]:
  """Regions of a leaf, in the chunks of the side that has some."""
  leaf = a.leaves[name]
  itemsize = max(a.dtype.itemsize, b.dtype.itemsize)
  chunks = a.chunks or b.chunks
  chunk = chunks.get(name) or hf_weights.block_shape(
    leaf, itemsize, _PIECE_BYTES
  )
  regions = hf_weights.cells(leaf, chunk, itemsize, _PIECE_BYTES)
  return [
    (
      (name, region),
      itemsize * math.prod(part.stop - part.start for part in region),
    )
    for region in regions
  ]


def _compare_region(
  a: Weights, b: Weights, name: str, region: Region
) -> Mapping[str, Difference]:
  """Differences in a region, by tensor."""
  x, y = a.read(name, region), b.read(name, region)
  if x.dtype != y.dtype:
    x, y = x.astype(np.float32), y.astype(np.float32)
  bits = np.dtype(f"u{x.itemsize}")
  differs = x.view(bits) != y.view(bits)
  if not differs.any():
    return {}
  with np.errstate(invalid="ignore", over="ignore"):
    size = np.abs(x.astype(np.float32) - y.astype(np.float32))
  size = np.where(differs & np.isnan(size), np.inf, size * differs)
  leaf = a.leaves[name]
  tensors = hf_weights.tensor_names(leaf)
  if leaf.dims.startswith("L"):
    tensors = tensors[region[0]]
  else:
    differs, size = differs[None], size[None]
  return {
    tensor: Difference(int(np.count_nonzero(here)), float(by.max()))
    for tensor, here, by in zip(tensors, differs, size, strict=True)
    if here.any()
  }
