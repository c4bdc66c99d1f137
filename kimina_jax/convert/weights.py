"""Weights of a model on disk, in either format, readable region by region.

In: a Hugging Face directory, a model directory (as from_hf writes it) or a
run, of which the newest checkpoint is taken. Out: any region of any parameter.
Only the regions that are being read are in memory; nothing is written.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import tensorstore

from kimina_jax.infra.arrays import open_checkpoint
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.model import hf_weights, safetensors_io
from kimina_jax.model.config import DTYPES, ModelConfig, ModelSettings
from kimina_jax.model.hf_config import config_from_hf
from kimina_jax.model.params import Declaration, abstract_params
from kimina_jax.model.safetensors_io import Region
from kimina_jax.types import UsageError

_LFS_POINTER = b"version https://git-lfs"


@dataclasses.dataclass(frozen=True)
class StoredWeights:
  """The parameters of a model on disk.

  Attributes:
    config: of the model; its param_dtype is what config.json says.
    hf_config: the dict of config.json.
    dtype: of the values.
    leaves: declarations of the parameters by name, "layers.attention.q_DNH".
    chunks: shape of the chunks of an Orbax checkpoint, which are read as a
      whole, by name of the parameter; {} for safetensors.
    read: (name, region) → values, possibly a strided view.
  """

  config: ModelConfig
  hf_config: dict[str, Any]
  dtype: np.dtype
  leaves: Mapping[str, Declaration]
  chunks: Mapping[str, tuple[int, ...]]
  read: Callable[[str, Region], np.ndarray]


@contextlib.contextmanager
def open_any_weights(path: pathlib.Path) -> Iterator[StoredWeights]:
  """Opens any of the three kinds of directories.

  Raises:
    UsageError: the directory holds no complete model of its config.json.
  """
  is_ours = (path / "model").is_dir()
  with open_ours(path) if is_ours else open_hf(path) as weights:
    yield weights


@contextlib.contextmanager
def open_hf(path: pathlib.Path) -> Iterator[StoredWeights]:
  """Opens a Hugging Face directory: config.json and safetensors."""
  _check_hf_directory(path)
  config, hf_config = read_config(path)
  leaves = hf_weights.named_declarations(config)
  with hf_weights.open_weights(path, config) as tensors:
    yield StoredWeights(
      config=config,
      hf_config=hf_config,
      dtype=safetensors_io.FORMAT_DTYPES[next(iter(tensors.values())).dtype],
      leaves=leaves,
      chunks={},
      read=lambda name, region: hf_weights.read_leaf(
        tensors, leaves[name], region
      ),
    )


@contextlib.contextmanager
def open_ours(path: pathlib.Path) -> Iterator[StoredWeights]:
  """Opens a model or a run: `model/`, and `params` or `checkpoints/`."""
  if _is_hf_directory(path) and not (path / "model").is_dir():
    raise UsageError(
      f"{path} is a Hugging Face directory already: to-hf takes a model"
      " directory, as from-hf writes it, or a run"
    )
  config, hf_config = read_config(path / "model")
  leaves = hf_weights.named_declarations(config)
  arrays = open_checkpoint(
    find_weights(path) / "params", abstract_params(config)
  )
  yield StoredWeights(
    config=config,
    hf_config=hf_config,
    dtype=next(iter(arrays.values())).dtype.numpy_dtype,
    leaves=leaves,
    chunks={
      name: chunk_shape(array.chunk_layout.read_chunk)
      for name, array in arrays.items()
    },
    read=lambda name, region: arrays[name][tuple(region)].read().result(),
  )


def chunk_shape(grid: tensorstore.ChunkLayout.Grid) -> tuple[int, ...]:
  """The shape of the chunks of an Orbax array."""
  return tuple(size or 0 for size in grid.shape or ())


def set_dtype(hf_config: Mapping[str, Any], dtype: np.dtype) -> dict[str, Any]:
  """config.json with this dtype, which readers of the weights rely on."""
  return {**hf_config, _dtype_key(hf_config): jnp.dtype(dtype).name}


def read_config(directory: pathlib.Path) -> tuple[ModelConfig, dict[str, Any]]:
  """config.json of a directory, as ModelConfig and as the dict.

  Raises:
    UsageError: it is missing, damaged, or of a model that is not supported.
  """
  path = directory / "config.json"
  if not path.is_file():
    raise UsageError(f"no {path}: a model's directory holds its config.json")
  try:
    hf_config = json.loads(path.read_text("utf-8"))
    if not isinstance(hf_config, dict):
      raise ValueError("it holds no object")
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({error}): copy it again") from error
  dtype = hf_config.get(_dtype_key(hf_config)) or "bfloat16"
  if dtype not in DTYPES:
    raise UsageError(
      f"{path}: the weights are {dtype}, which is not supported"
      f" ({', '.join(DTYPES)} are): load them with transformers and save them"
      " as bfloat16 first"
    )
  settings = ModelSettings(
    name=directory.resolve().name,
    param_dtype=dtype,
    compute_dtype="bfloat16",
    remat="none",
    attention="auto",
    yarn_factor=1.0,
  )
  return config_from_hf(hf_config, settings), hf_config


def _is_hf_directory(path: pathlib.Path) -> bool:
  """Whether it holds safetensors."""
  return any(path.glob("*.safetensors"))


def _check_hf_directory(path: pathlib.Path) -> None:
  """Raises UsageError for a directory that is not a Hugging Face model.

  Raises:
    UsageError: with what to do instead.
  """
  if (path / "adapter_config.json").is_file():
    raise UsageError(
      f"{path} holds a LoRA adapter, not a model: merge it into its base model"
      " first (peft: merge_and_unload, then save_pretrained)"
    )
  snapshots = path / "snapshots"
  if snapshots.is_dir() and not (path / "config.json").exists():
    names = sorted(entry.name for entry in snapshots.iterdir())
    example = names[-1] if names else "…"
    raise UsageError(
      f"{path} is the root of a model in a hub cache: name one of its"
      f" snapshots, {snapshots / example}"
    )
  if not _is_hf_directory(path):
    pickles = sorted(file.name for file in path.glob("*.bin"))
    if pickles:
      raise UsageError(
        f"{path} holds pickled weights ({pickles[0]}) and no safetensors:"
        " convert pickles first, with from_pretrained and save_pretrained of"
        " transformers"
      )
  for file in sorted(path.glob("*.safetensors")):
    with open(file, "rb") as stream:
      if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise UsageError(
          f"{file} is a Git LFS pointer, not the file: run `git lfs pull` in"
          f" {path}"
        )


def _dtype_key(hf_config: Mapping[str, Any]) -> str:
  """transformers 4 writes "torch_dtype", transformers 5 "dtype"."""
  return "dtype" if "dtype" in hf_config else "torch_dtype"
