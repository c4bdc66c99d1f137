"""Weights in Hugging Face's safetensors layout <-> leaves of the params.

In: a directory with safetensors files, or regions of params. Out: the other
one, bit for bit: values and dtypes are kept, only layouts change, as declared
in layers.py. Reads and writes are by region of a leaf, so that a converter
needs little memory. The other files of a checkpoint (config.json, tokenizer)
are handled by convert/.
"""

import contextlib
import itertools
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from kimina_jax.model import safetensors_io
from kimina_jax.model.config import DTYPES, ModelConfig
from kimina_jax.model.params import Declaration, declarations
from kimina_jax.model.safetensors_io import Region, Tensor
from kimina_jax.types import UsageError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# Unembedding and embedding, which are one tensor in a tied model.
_LM_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_COMPARED_BYTES = 2**25  # read at once to compare two tensors


def named_declarations(config: ModelConfig) -> dict[str, Declaration]:
  """The declarations by name, "layers.attention.q_DNH"."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): leaf
    for path, leaf in jax.tree.leaves_with_path(declarations(config))
  }


@contextlib.contextmanager
def open_weights(
  directory: pathlib.Path, config: ModelConfig
) -> Iterator[dict[str, Tensor]]:
  """The tensors of a checkpoint, by Hugging Face's names, all of one dtype.

  Raises:
    UsageError: no weights, a damaged file; or every tensor that is missing,
      unexpected, misshaped or of another dtype than the rest.
  """
  with contextlib.ExitStack() as stack:
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(directory):
      tensors |= stack.enter_context(safetensors_io.open_file(path))
    if config.tied and _is_copy(tensors, _LM_HEAD, _EMBEDDING):
      del tensors[_LM_HEAD]  # written by some tools beside the embedding
    _check(directory, config, tensors)
    yield tensors


@contextlib.contextmanager
def create_weights(
  directory: pathlib.Path,
  config: ModelConfig,
  *,
  dtype: np.dtype,
  shard_bytes: int,
) -> Iterator[dict[str, Tensor]]:
  """The tensors of a new checkpoint, to be written.

  They lie in files of at most about shard_bytes: one model.safetensors, or
  several with an index beside them. A tensor larger than shard_bytes has a
  file of its own.
  """
  plan = _plan(_hf_shapes(config), dtype.itemsize, shard_bytes)
  names = [_SINGLE]
  if len(plan) > 1:
    count = len(plan)
    names = [
      f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)
    ]
  with contextlib.ExitStack() as stack:
    tensors: dict[str, Tensor] = {}
    for name, shapes in zip(names, plan, strict=True):
      file = safetensors_io.create_file(directory / name, shapes, dtype)
      tensors |= stack.enter_context(file)
    yield tensors
  if len(plan) > 1:
    _write_index(directory, names, plan, dtype)


def read_leaf(
  tensors: Mapping[str, Tensor], leaf: Declaration, region: Region
) -> np.ndarray:
  """A region of a leaf, in the leaf's layout; it may be a strided view."""
  names, inner = _locate(leaf, region)
  axes, order, sizes = _layout(leaf)
  parts = [
    safetensors_io.read_region(
      tensors[name]._replace(shape=sizes), [inner[axis] for axis in axes]
    ).transpose(order)
    for name in names
  ]
  if not leaf.dims.startswith("L"):
    return parts[0]
  return np.stack(parts) if len(parts) > 1 else parts[0][None]


def write_leaf(
  tensors: Mapping[str, Tensor],
  leaf: Declaration,
  region: Region,
  array: np.ndarray,
) -> None:
  """Writes a region of a leaf, given in the leaf's layout."""
  names, inner = _locate(leaf, region)
  axes, _, sizes = _layout(leaf)
  parts = array if leaf.dims.startswith("L") else array[None]
  for name, part in zip(names, parts, strict=True):
    safetensors_io.write_region(
      tensors[name]._replace(shape=sizes),
      [inner[axis] for axis in axes],
      part.transpose(axes),
    )


def block_shape(
  leaf: Declaration, itemsize: int, max_bytes: int
) -> tuple[int, ...]:
  """Shape of a part of a leaf that is contiguous in a safetensors file.

  The part lies in one layer and has at most about max_bytes; it is cut along
  the outermost dim of the tensor.
  """
  stacked = leaf.dims.startswith("L")
  shape = [1, *leaf.shape[1:]] if stacked else list(leaf.shape)
  axis = stacked + _layout(leaf)[0][0]
  num_blocks = -(-math.prod(shape) * itemsize // max_bytes)
  shape[axis] = -(-shape[axis] // num_blocks)
  return tuple(shape)


def leaf_regions(
  leaf: Declaration, chunk: Sequence[int], itemsize: int, max_bytes: int
) -> list[Region]:
  """Cuts a leaf into regions of whole chunks, of at most about max_bytes.

  Regions extend along the innermost dims of the checkpoint's tensors first, so
  that a region is few contiguous ranges of bytes there. A chunk larger than
  max_bytes is a region of its own.
  """
  stacked = leaf.dims.startswith("L")
  outermost_first = [stacked + axis for axis in _layout(leaf)[0]]
  if stacked:
    outermost_first.insert(0, 0)
  shape = [min(c, s) for c, s in zip(chunk, leaf.shape, strict=True)]
  for axis in reversed(outermost_first):
    room = max_bytes // (math.prod(shape) * itemsize)
    shape[axis] = min(shape[axis] * max(room, 1), leaf.shape[axis])
  return [
    tuple(
      slice(start, min(start + step, size))
      for start, step, size in zip(starts, shape, leaf.shape, strict=True)
    )
    for starts in itertools.product(
      *(range(0, s, c) for s, c in zip(leaf.shape, shape, strict=True))
    )
  ]


def tensor_names(leaf: Declaration) -> list[str]:
  """Hugging Face's names of a leaf's layers, or its one name."""
  if not leaf.dims.startswith("L"):
    return [leaf.hf_name]
  return [leaf.hf_name.format(layer=layer) for layer in range(leaf.shape[0])]


def _locate(leaf: Declaration, region: Region) -> tuple[list[str], Region]:
  """Tensor names of the layers in a region, and the region within a layer."""
  names = tensor_names(leaf)
  if not leaf.dims.startswith("L"):
    return names, region
  return names[region[0]], region[1:]


def _layout(leaf: Declaration) -> tuple[list[int], list[int], tuple[int, ...]]:
  """The permutation between a leaf's layer and its tensor, dims not merged.

  Returns:
    axes of the leaf in the tensor's order, axes of the tensor in the leaf's
    order, and the sizes in the tensor's order.
  """
  ours = leaf.dims.removeprefix("L")
  theirs = leaf.hf_dims.replace("(", "").replace(")", "")
  sizes = dict(zip(leaf.dims, leaf.shape, strict=True))
  axes = [ours.index(dim) for dim in theirs]
  order = [theirs.index(dim) for dim in ours]
  return axes, order, tuple(sizes[dim] for dim in theirs)


def _hf_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
  """Shape of each tensor, merged: "(NH)D" → [N·H, D]; layer after layer."""
  shapes: dict[str, tuple[int, ...]] = {}
  for leaf in named_declarations(config).values():
    sizes = dict(zip(leaf.dims, leaf.shape, strict=True))
    groups = re.findall(r"\w+(?=\))|\w", leaf.hf_dims)
    shape = tuple(math.prod(sizes[dim] for dim in group) for group in groups)
    shapes |= dict.fromkeys(tensor_names(leaf), shape)
  return shapes


def _plan(
  shapes: Mapping[str, tuple[int, ...]], itemsize: int, shard_bytes: int
) -> list[dict[str, tuple[int, ...]]]:
  plan: list[dict[str, tuple[int, ...]]] = [{}]
  size = 0
  for name, shape in shapes.items():
    num_bytes = math.prod(shape) * itemsize
    if plan[-1] and size + num_bytes > shard_bytes:
      plan.append({})
      size = 0
    plan[-1][name] = shape
    size += num_bytes
  return plan


def _write_index(
  directory: pathlib.Path,
  names: list[str],
  plan: list[dict[str, tuple[int, ...]]],
  dtype: np.dtype,
) -> None:
  total = sum(math.prod(shape) for shapes in plan for shape in shapes.values())
  weight_map = {
    tensor: name
    for name, shapes in zip(names, plan, strict=True)
    for tensor in shapes
  }
  index = {
    "metadata": {"total_size": total * dtype.itemsize},
    "weight_map": weight_map,
  }
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


def _is_copy(tensors: Mapping[str, Tensor], name: str, original: str) -> bool:
  """Whether both tensors are there and equal, bit for bit."""
  if name not in tensors or original not in tensors:
    return False
  a, b = tensors[name], tensors[original]
  if (
    a[2:] != b[2:] or a.dtype not in safetensors_io.FORMAT_DTYPES or not a.shape
  ):
    return False
  itemsize = safetensors_io.FORMAT_DTYPES[a.dtype].itemsize
  row_bytes = math.prod(a.shape[1:]) * itemsize
  step = max(1, _COMPARED_BYTES // row_bytes)
  for start in range(0, a.shape[0], step):
    rows = slice(start, min(start + step, a.shape[0]))
    region = (rows, *(slice(0, size) for size in a.shape[1:]))
    x, y = (
      safetensors_io.read_region(a, region),
      safetensors_io.read_region(b, region),
    )
    if x.tobytes() != y.tobytes():
      return False
  return True


def _check(
  directory: pathlib.Path, config: ModelConfig, tensors: Mapping[str, Tensor]
) -> None:
  expected = _hf_shapes(config)
  faults = [f"missing {name}" for name in expected if name not in tensors]
  faults += [f"unexpected {name}" for name in tensors if name not in expected]
  if config.tied and _LM_HEAD in tensors:
    faults.append(
      f"{_LM_HEAD} differs from {_EMBEDDING}: set tie_word_embeddings to false"
    )
  dtypes = set()
  for name in sorted(expected.keys() & tensors.keys()):
    found = tensors[name]
    dtypes.add(found.dtype)
    if found.shape != expected[name]:
      faults.append(f"{name} has shape {found.shape}, not {expected[name]}")
  known = {
    name
    for name, dtype in safetensors_io.FORMAT_DTYPES.items()
    if dtype.name in DTYPES
  }
  if not dtypes <= known or len(dtypes) > 1:
    faults.append(
      f"tensors have dtypes {sorted(dtypes)}, not one of {sorted(known)}"
    )
  if faults:
    raise UsageError(
      f"{directory} does not hold the model of its config.json:\n  "
      + "\n  ".join(faults)
    )
