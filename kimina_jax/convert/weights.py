"""Weights on disk, whoever wrote them, open to be read region by region.

In: a Hugging Face directory, a model directory (as convert writes it) or a
run, of which the newest checkpoint is taken. Out: any region of any parameter.
Never holds more than the regions that are being read, and never writes.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from kimina_jax.infra.arrays import open_checkpoint
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.model import hf_weights, safetensors_io
from kimina_jax.model.config import ModelConfig, ModelSettings
from kimina_jax.model.hf_config import config_from_hf
from kimina_jax.model.params import Declaration, abstract_params
from kimina_jax.model.safetensors_io import Region
from kimina_jax.types import UsageError


@dataclasses.dataclass(frozen=True)
class Weights:
  """The parameters of a model, on disk.

  Attributes:
    config: the model; its param_dtype is what config.json says.
    raw: config.json.
    dtype: of the values.
    leaves: declarations by name, "layers.attention.q_DNH".
    chunks: by name, sizes of the pieces that are read as a whole; {} if any
      region is as good as another.
    read: (name, region) → values, maybe a strided view.
  """

  config: ModelConfig
  raw: dict[str, Any]
  dtype: np.dtype
  leaves: Mapping[str, Declaration]
  chunks: Mapping[str, tuple[int, ...]]
  read: Callable[[str, Region], np.ndarray]


@contextlib.contextmanager
def open_weights(path: pathlib.Path) -> Iterator[Weights]:
  """Opens any of the three kinds of directories.

  Raises:
    UsageError: what is there is no complete model of its config.json.
  """
  ours = (path / "model").is_dir()
  with open_ours(path) if ours else open_hf(path) as weights:
    yield weights


@contextlib.contextmanager
def open_hf(path: pathlib.Path) -> Iterator[Weights]:
  """Opens a Hugging Face directory: config.json and safetensors."""
  config, raw = read_config(path)
  leaves = hf_weights.leaves(config)
  with hf_weights.open_weights(path, config) as tensors:
    yield Weights(
      config=config,
      raw=raw,
      dtype=safetensors_io.DTYPES[next(iter(tensors.values())).dtype],
      leaves=leaves,
      chunks={},
      read=lambda name, region: hf_weights.read(tensors, leaves[name], region),
    )


@contextlib.contextmanager
def open_ours(path: pathlib.Path) -> Iterator[Weights]:
  """Opens a model or a run: `model/`, and `params` or `checkpoints/`."""
  config, raw = read_config(path / "model")
  leaves = hf_weights.leaves(config)
  arrays = open_checkpoint(
    find_weights(path) / "params", abstract_params(config)
  )
  yield Weights(
    config=config,
    raw=raw,
    dtype=next(iter(arrays.values())).dtype.numpy_dtype,
    leaves=leaves,
    chunks={
      name: array.chunk_layout.read_chunk.shape
      for name, array in arrays.items()
    },
    read=lambda name, region: arrays[name][tuple(region)].read().result(),
  )


def set_dtype(raw: Mapping[str, Any], dtype: np.dtype) -> dict[str, Any]:
  """config.json for weights of this dtype: readers trust what it says."""
  return {**raw, _dtype_key(raw): jnp.dtype(dtype).name}


def read_config(directory: pathlib.Path) -> tuple[ModelConfig, dict[str, Any]]:
  """config.json of a directory, parsed and raw."""
  path = directory / "config.json"
  if not path.is_file():
    raise UsageError(f"no {path}: a model's directory holds its config.json")
  try:
    raw = json.loads(path.read_text())
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({error}): copy it again") from error
  settings = ModelSettings(
    name=directory.resolve().name,
    param_dtype=raw.get(_dtype_key(raw)) or "bfloat16",
    compute_dtype="bfloat16",
    remat="none",
    attention="auto",
    yarn_factor=1.0,
  )
  return config_from_hf(raw, settings), raw


def _dtype_key(raw: Mapping[str, Any]) -> str:
  """transformers 4 says torch_dtype, transformers 5 dtype."""
  return "dtype" if "dtype" in raw else "torch_dtype"
