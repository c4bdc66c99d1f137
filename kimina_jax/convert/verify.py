"""Comparison of two models on disk: tensors by value, and config.json.

In: two directories of any kind. Out: the tensors and the keys of config.json
that differ, and by how much. Values are compared bit for bit; of two dtypes,
after conversion to float32, which represents both exactly. No more than a few
pieces of a tensor are in memory.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kimina_jax.convert.weights import StoredWeights, open_any_weights
from kimina_jax.infra.stream import stream
from kimina_jax.model import hf_weights
from kimina_jax.model.config import SHAPE_FIELDS, ModelConfig
from kimina_jax.model.safetensors_io import Region

# Fields of ModelConfig that decide what the weights compute.
_COMPARED = (
  "family",
  *SHAPE_FIELDS,
  "rope_theta",
  "rope_scaling",
  "norm_eps",
  "max_position",
)
_PIECE_BYTES = 2**25
_MAX_BYTES = 2**27


class TensorDifference(NamedTuple):
  """The difference between two tensors' values.

  Attributes:
    num_values: number of values that differ.
    largest: largest |a − b|; infinite where one of them is NaN.
  """

  num_values: int
  largest: float


def verify(a: pathlib.Path, b: pathlib.Path) -> int:
  """Prints the tensors and keys of config.json that differ; returns how many.

  Keys that change no tensor change the model all the same (rope_theta changes
  its logits), so they count as tensors do.
  """
  with open_any_weights(a) as one, open_any_weights(b) as other:
    differences = compare_tensors(one, other)
    keys = compare_configs(one.config, other.config)
    num_tensors = sum(
      len(hf_weights.tensor_names(leaf)) for leaf in one.leaves.values()
    )
  for name, text in sorted(differences.items()):
    print(f"{name}  {text}")
  for key, text in keys.items():
    print(f"config.json  {key} {text}")
  verdict = f"differ in {len(differences)}" if differences else "agree in all"
  print(
    f"A ({one.dtype.name}, {a}) and B ({other.dtype.name}, {b}) {verdict}"
    f" of {num_tensors} tensors"
    + (f" and differ in {len(keys)} keys of config.json" if keys else "")
  )
  return len(differences) + len(keys)


def compare_configs(a: ModelConfig, b: ModelConfig) -> dict[str, str]:
  """Differences between two configs, by name of the field.

  How a model is stored and computed (dtypes, kernels) is not compared.
  """
  return {
    name: f"is {getattr(a, name)} in A, {getattr(b, name)} in B"
    for name in _COMPARED
    if getattr(a, name) != getattr(b, name)
  }


def compare_tensors(a: StoredWeights, b: StoredWeights) -> dict[str, str]:
  """Differences between weights, by Hugging Face's names of the tensors."""
  faults = _missing(a, b, "B") | _missing(b, a, "A")
  common = [name for name in a.leaves if _shape(a, name) == _shape(b, name)]
  for name in a.leaves.keys() & b.leaves.keys() - set(common):
    text = f"has sizes {_shape(a, name)} in A, {_shape(b, name)} in B"
    faults |= dict.fromkeys(hf_weights.tensor_names(a.leaves[name]), text)
  found: dict[str, TensorDifference] = {}
  for _, differences in stream(
    lambda piece: _compare_region(a, b, *piece),
    [piece for name in common for piece in _pieces(a, b, name)],
    title="compared",
    max_bytes=_MAX_BYTES,
  ):
    for tensor, (num_values, largest) in differences.items():
      before = found.get(tensor, TensorDifference(0, 0.0))
      found[tensor] = TensorDifference(
        before.num_values + num_values, max(before.largest, largest)
      )
  return faults | {
    tensor: f"largest difference {largest:.6g}, {num_values} values differ"
    for tensor, (num_values, largest) in found.items()
  }


def _missing(a: StoredWeights, b: StoredWeights, where: str) -> dict[str, str]:
  return {
    tensor: f"is not in {where}"
    for name in a.leaves.keys() - b.leaves.keys()
    for tensor in hf_weights.tensor_names(a.leaves[name])
  }


def _shape(weights: StoredWeights, name: str) -> dict[str, int] | None:
  leaf = weights.leaves.get(name)
  if leaf is None:
    return None
  return dict(zip(leaf.dims, leaf.shape, strict=True))


def _pieces(
  a: StoredWeights, b: StoredWeights, name: str
) -> list[tuple[tuple[str, Region], int]]:
  """Regions of a parameter with their bytes, in whole chunks of either side."""
  leaf = a.leaves[name]
  itemsize = max(a.dtype.itemsize, b.dtype.itemsize)
  chunks = a.chunks or b.chunks
  chunk = chunks.get(name) or hf_weights.block_shape(
    leaf, itemsize, _PIECE_BYTES
  )
  regions = hf_weights.leaf_regions(leaf, chunk, itemsize, _PIECE_BYTES)
  return [
    (
      (name, region),
      itemsize * math.prod(part.stop - part.start for part in region),
    )
    for region in regions
  ]


def _compare_region(
  a: StoredWeights, b: StoredWeights, name: str, region: Region
) -> Mapping[str, TensorDifference]:
  """Differences in a region of a parameter, by tensor."""
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
    tensor: TensorDifference(int(np.count_nonzero(here)), float(by.max()))
    for tensor, here, by in zip(tensors, differs, size, strict=True)
    if here.any()
  }
