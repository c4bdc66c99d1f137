"""The parameter tree: shapes, dims, shardings, initial values.

In: a ModelConfig. Out: nested dicts of one structure, derived from the
declarations in layers.py, that hold shapes, dims, shardings or arrays; leaves
of the layers are stacked on a leading L. Only `init_params` allocates.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.layers import Transformer
from kimina_jax.types import UsageError


@dataclasses.dataclass(frozen=True)
class Declaration:
  """One leaf of the parameters.

  Attributes:
    dims: letters, with a leading L if stacked.
    shape: sizes of the dims.
    dtype: of the master weights.
    init: initializer, (key, shape, dtype) → array.
    hf_name: name of the tensor in a Hugging Face checkpoint, with `{layer}` if
      stacked.
    hf_dims: the tensor's layout, without L; merged dims in parentheses,
      "(NH)D".
  """

  dims: str
  shape: tuple[int, ...]
  dtype: jnp.dtype
  init: Callable[..., jax.Array]
  hf_name: str
  hf_dims: str


def declarations(config: ModelConfig) -> dict[str, Any]:
  """The nested dict of Declarations."""
  state = nnx.state(Transformer(config))
  tree = nnx.to_pure_dict(state, extract_fn=_declaration)
  tree["layers"] = jax.tree.map(
    lambda leaf: _stack(leaf, config.num_layers), tree["layers"]
  )
  return tree


def abstract_params(config: ModelConfig) -> dict[str, Any]:
  """The nested dict of jax.ShapeDtypeStruct."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    declarations(config),
  )


def param_dims(config: ModelConfig) -> dict[str, Any]:
  """The nested dict of dim letters, e.g. "LDNH"."""
  return jax.tree.map(lambda leaf: leaf.dims, declarations(config))


def param_shardings(
  config: ModelConfig, mesh: Mesh, layout: str
) -> dict[str, Any]:
  """The nested dict of NamedSharding; layout is "train" or "decode"."""
  table = meshes.PARAMS[layout]
  return jax.tree.map(
    lambda dims: meshes.sharding(mesh, dims, table), param_dims(config)
  )


def init_params(key: jax.Array, config: ModelConfig) -> dict[str, Any]:
  """Draws the initial weights; under jit with out_shardings, sharded.

  Example:
    init = jax.jit(init_params, static_argnums=1,
                   out_shardings=param_shardings(config, mesh, "train"))
    params = init(jax.random.key(0), config)
  """
  leaves, tree = jax.tree.flatten(declarations(config))
  keys = jax.random.split(key, len(leaves))
  # Drawn in float32: normal draws in bfloat16 have few distinct values and a
  # biased mean.
  drawn = [
    leaf.init(key, leaf.shape, jnp.float32).astype(leaf.dtype)
    for key, leaf in zip(keys, leaves, strict=True)
  ]
  return jax.tree.unflatten(tree, drawn)


# Largest share of the parameters that may be sharded over fewer devices.
_MAX_UNSPLIT = 0.02


def check_mesh(
  config: ModelConfig,
  mesh: Mesh | AbstractMesh,
  *,
  num_rows: int,
  sequence_len: int,
) -> None:
  """Checks that a mesh divides the model and its batch, and shards the weights.

  Args:
    config: the model.
    mesh: its axes are meshes.AXES.
    num_rows: B of the smallest training batch.
    sequence_len: T of a training batch.

  Raises:
    UsageError: all sizes that do not divide, each with both numbers; or too
      many weights that are not sharded over all axes but data.
  """
  rows = [
    ("kv heads", "K", config.num_kv_heads, meshes.PARAMS),
    ("query heads", "N", config.num_q_heads, meshes.PARAMS),
    ("ffn units", "F", config.ffn_dim, meshes.PARAMS),
    ("vocabulary", "V", config.vocab_size, meshes.PARAMS),
    ("model dim", "D", config.model_dim, meshes.PARAMS),
    ("rows of a batch", "B", num_rows, meshes.ACTIVATIONS),
    ("tokens of a row", "T", sequence_len, meshes.STREAMS),
  ]
  faults = []
  for what, dim, size, tables in rows:
    table = tables["train"]
    shards = meshes.num_shards(mesh, dim, table)
    if size % shards:
      axes = " × ".join(meshes.axes_of(dim, table))
      faults.append(f"{size} {what} over {axes} = {shards}")
  if faults:
    raise UsageError(
      f"the mesh does not divide model {config.name}: {'; '.join(faults)}."
      " Choose mesh sizes that divide, or change the batch"
    )
  _check_unsplit(config, mesh)


def _check_unsplit(config: ModelConfig, mesh: Mesh | AbstractMesh) -> None:
  """Checks that few parameters (biases, norms) have too few dims to shard."""
  table = meshes.PARAMS["train"]
  wanted = mesh.size // mesh.shape["data"]
  total = 0
  unsplit: dict[str, int] = {}
  for path, leaf in jax.tree.leaves_with_path(declarations(config)):
    size = math.prod(leaf.shape)
    total += size
    if math.prod(meshes.num_shards(mesh, x, table) for x in leaf.dims) < wanted:
      unsplit[jax.tree_util.keystr(path, simple=True, separator=".")] = size
  count = sum(unsplit.values())
  if count > _MAX_UNSPLIT * total:
    raise UsageError(
      f"the mesh leaves {count:,} of {total:,} parameters of {config.name}"
      f" ({count / total:.1%}, at most {_MAX_UNSPLIT:.0%}) split over fewer"
      f" than fsdp × context × tensor = {wanted} devices: {', '.join(unsplit)}"
    )


def _declaration(param: nnx.Param) -> Declaration:
  value = param.get_value()
  return Declaration(
    dims=param.dims,
    shape=value.shape,
    dtype=value.dtype,
    init=param.init,
    hf_name=param.hf_name,
    hf_dims=param.hf_dims,
  )


def _stack(leaf: Declaration, num_layers: int) -> Declaration:
  return dataclasses.replace(
    leaf, dims="L" + leaf.dims, shape=(num_layers, *leaf.shape)
  )
