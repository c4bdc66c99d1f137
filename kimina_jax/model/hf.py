"""Hugging Face safetensors <-> params, by the declarations in layers.py.

In: a directory with safetensors files, or params in host memory. Out: the
other one, bit for bit: values and dtypes are kept, only layouts change. Never
reads or writes config.json's neighbours (tokenizer files): convert.py does.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from kimina_jax.model.config import DTYPES, ModelConfig
from kimina_jax.model.params import Declaration, declarations
from kimina_jax.types import UsageError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def load_params(directory: pathlib.Path, config: ModelConfig) -> dict[str, Any]:
  """Reads the checkpoint of a directory into NumPy arrays.

  Args:
    directory: holds model.safetensors, or shards with their index.
    config: what the checkpoint should hold; its param_dtype is not looked at.

  Returns:
    params with the file's dtype.

  Raises:
    UsageError: no weights, a damaged file; or every tensor that is missing,
      unexpected, misshaped or of another dtype than the rest.
  """
  with contextlib.ExitStack() as stack:
    files = [stack.enter_context(_open(p)) for p in _weight_files(directory)]
    tensors = {name: file for file in files for name in file.keys()}
    _check(directory, config, tensors)
    return jax.tree.map(
      lambda leaf: _read_leaf(leaf, config, tensors), declarations(config)
    )


def save_params(
  params: Mapping[str, Any],
  config: ModelConfig,
  directory: pathlib.Path,
  *,
  shard_bytes: int,
) -> None:
  """Writes params as safetensors, in shards of at most about shard_bytes.

  One shard is model.safetensors; several have an index beside them. A tensor
  larger than shard_bytes has a shard of its own.
  """
  slices = _slices(params, config)
  shards = _plan(slices, shard_bytes)
  names = [_SINGLE]
  if len(shards) > 1:
    count = len(shards)
    names = [
      f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)
    ]
  for name, shard in zip(names, shards, strict=True):
    tensors = {part.hf_name: part.tensor() for part in shard}
    # transformers refuses a file that does not say so.
    metadata = {"format": "pt"}
    safetensors.numpy.save_file(tensors, directory / name, metadata=metadata)
    # safetensors makes files that only their owner can read.
    (directory / name).chmod(0o644)
  if len(shards) > 1:
    _write_index(directory, names, shards)


@dataclasses.dataclass(frozen=True, eq=False)
class _Slice:
  """One tensor of the checkpoint: a leaf, or a layer of a stacked leaf."""

  hf_name: str
  leaf: Declaration
  array: np.ndarray

  def tensor(self) -> np.ndarray:
    dims = self.leaf.dims.removeprefix("L")
    axes = [dims.index(dim) for dim in _flat(self.leaf.hf_dims)]
    merged = self.array.transpose(axes).reshape(_hf_shape(self.leaf))
    # safetensors writes the buffer as it lies and ignores strides.
    return np.ascontiguousarray(merged)


def _slices(params: Mapping[str, Any], config: ModelConfig) -> list[_Slice]:
  """All tensors of a checkpoint, layer after layer."""
  leaves = jax.tree.leaves(declarations(config))
  arrays = jax.tree.leaves(params)
  slices = []
  for leaf, array in zip(leaves, arrays, strict=True):
    array = np.asarray(array)
    parts = array if leaf.dims.startswith("L") else array[None]
    for name, part in zip(_hf_names(leaf), parts, strict=True):
      slices.append(_Slice(hf_name=name, leaf=leaf, array=part))
  return slices


def _plan(slices: list[_Slice], shard_bytes: int) -> list[list[_Slice]]:
  shards: list[list[_Slice]] = [[]]
  size = 0
  for part in slices:
    if shards[-1] and size + part.array.nbytes > shard_bytes:
      shards.append([])
      size = 0
    shards[-1].append(part)
    size += part.array.nbytes
  return shards


def _write_index(
  directory: pathlib.Path, names: list[str], shards: list[list[_Slice]]
) -> None:
  total = sum(part.array.nbytes for shard in shards for part in shard)
  weight_map = {
    part.hf_name: name
    for name, shard in zip(names, shards, strict=True)
    for part in shard
  }
  index = {"metadata": {"total_size": total}, "weight_map": weight_map}
  (directory / _INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _weight_files(directory: pathlib.Path) -> list[pathlib.Path]:
  index = directory / _INDEX
  if not index.exists():
    if not (directory / _SINGLE).exists():
      raise UsageError(
        f"{directory} holds no weights: neither {_SINGLE} nor {_INDEX}"
      )
    return [directory / _SINGLE]
  try:
    names = set(json.loads(index.read_text())["weight_map"].values())
  except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
    raise UsageError(f"{index} is damaged ({error}): copy it again") from error
  missing = sorted(name for name in names if not (directory / name).exists())
  if missing:
    raise UsageError(
      f"{directory} lacks shards that its index names: {missing}"
    )
  return [directory / name for name in sorted(names)]


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[Any]:
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      yield file
  except safetensors.SafetensorError as error:
    raise UsageError(
      f"{path} is truncated or damaged ({error}): copy it again"
    ) from error


def _check(
  directory: pathlib.Path, config: ModelConfig, tensors: Mapping[str, Any]
) -> None:
  expected = {
    name: _hf_shape(leaf)
    for leaf in jax.tree.leaves(declarations(config))
    for name in _hf_names(leaf)
  }
  faults = [f"missing {name}" for name in expected if name not in tensors]
  faults += [f"unexpected {name}" for name in tensors if name not in expected]
  dtypes = set()
  for name in sorted(expected.keys() & tensors.keys()):
    found = tensors[name].get_slice(name)
    dtypes.add(found.get_dtype())
    shape = tuple(found.get_shape())
    if shape != expected[name]:
      faults.append(f"{name} has shape {shape}, not {expected[name]}")
  if not dtypes <= _DTYPES or len(dtypes) > 1:
    faults.append(
      f"tensors have dtypes {sorted(dtypes)}, not one of {sorted(_DTYPES)}"
    )
  if faults:
    raise UsageError(
      f"{directory} does not hold the model of its config.json:\n  "
      + "\n  ".join(faults)
    )


def _read_leaf(
  leaf: Declaration, config: ModelConfig, tensors: Mapping[str, Any]
) -> np.ndarray:
  order = _flat(leaf.hf_dims)
  axes = [order.index(dim) for dim in leaf.dims.removeprefix("L")]
  sizes = [config.sizes[dim] for dim in order]
  parts = [
    tensors[name].get_tensor(name).reshape(sizes).transpose(axes)
    for name in _hf_names(leaf)
  ]
  return np.stack(parts) if leaf.dims.startswith("L") else parts[0].copy()


def _hf_names(leaf: Declaration) -> list[str]:
  if not leaf.dims.startswith("L"):
    return [leaf.hf_name]
  return [leaf.hf_name.format(layer=layer) for layer in range(leaf.shape[0])]


def _hf_shape(leaf: Declaration) -> tuple[int, ...]:
  """Shape of one tensor in the checkpoint: "(NH)D" → [N·H, D]."""
  sizes = dict(zip(leaf.dims, leaf.shape, strict=True))
  groups = re.findall(r"\w+(?=\))|\w", leaf.hf_dims)
  return tuple(math.prod(sizes[dim] for dim in group) for group in groups)


def _flat(hf_dims: str) -> str:
  return hf_dims.replace("(", "").replace(")", "")


# safetensors' spelling of DTYPES.
_DTYPES = {{"float32": "F32", "bfloat16": "BF16"}[name] for name in DTYPES}
