"""Whole parameter trees to and from a Hugging Face directory.

For benchmarks and tests; the program itself converts region by region.
"""

import jax
import numpy as np

from kimina_jax.model import hf_weights
from kimina_jax.model.params import declarations


def load_params(directory, config):
  """NumPy arrays of the file's dtype; UsageError as of open_weights."""
  with hf_weights.open_weights(directory, config) as tensors:
    return jax.tree.map(
      lambda leaf: hf_weights.read_leaf(tensors, leaf, _whole(leaf)),
      declarations(config),
    )


def save_params(params, config, directory, *, shard_bytes):
  """Writes params as safetensors files of at most about shard_bytes each."""
  dtype = jax.tree.leaves(params)[0].dtype
  with hf_weights.create_weights(
    directory, config, dtype=dtype, shard_bytes=shard_bytes
  ) as tensors:
    jax.tree.map(
      lambda leaf, array: hf_weights.write_leaf(
        tensors, leaf, _whole(leaf), np.asarray(array)
      ),
      declarations(config),
      params,
    )


def _whole(leaf):
  return tuple(slice(0, size) for size in leaf.shape)
