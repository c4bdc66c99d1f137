"""The tree of parameters: counts, layouts, draws, and checks of a mesh."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest
from plain_settings import model_settings

from kimina_jax.infra.mesh import AXES, MeshSettings, make_mesh
from kimina_jax.model import params
from kimina_jax.model.config import ModelConfig, model_config
from kimina_jax.types import UsageError

# As published with each model, in 10⁹.
COUNTS = {
  "qwen2.5-0.5b": 0.494,
  "qwen2.5-1.5b": 1.54,
  "qwen2.5-3b": 3.09,
  "qwen2.5-7b": 7.62,
  "qwen2.5-14b": 14.8,
  "qwen2.5-32b": 32.8,
  "qwen2.5-72b": 72.7,
}


@functools.cache
def _config(name="debug", param_dtype="float32") -> ModelConfig:
  return model_config(model_settings(name=name, param_dtype=param_dtype))


@functools.cache
def _init(config):
  init = jax.jit(params.init_params, static_argnums=1)
  return init(jax.random.key(0), config)


def _mesh(*sizes):
  devices = jax.devices()[: math.prod(sizes)]
  return make_mesh(
    MeshSettings(**dict(zip(AXES, sizes, strict=True))), devices=devices
  )


@pytest.mark.parametrize("name, billions", COUNTS.items())
def test_published_parameter_counts(name, billions):
  leaves = jax.tree.leaves(params.abstract_params(_config(name)))
  count = sum(math.prod(leaf.shape) for leaf in leaves)
  digits = len(str(billions).split(".")[1])
  assert round(count / 1e9, digits) == billions


@pytest.mark.parametrize("name", ["debug", "qwen2.5-7b"])
def test_names_and_dims_and_shapes_agree(name):
  config = _config(name)
  tree = params.declarations(config)
  for path, leaf in jax.tree.leaves_with_path(tree):
    keys = [key.key for key in path]
    assert keys[-1].split("_")[-1] == leaf.dims.removeprefix("L")
    assert (keys[0] == "layers") == leaf.dims.startswith("L")
    assert leaf.shape == tuple(config.sizes[dim] for dim in leaf.dims)
    merged = leaf.hf_dims.replace("(", "").replace(")", "")
    assert sorted(merged) == sorted(leaf.dims.removeprefix("L"))
  assert ("unembed" in tree) == (not config.tied)


def test_trees_have_one_nesting():
  config = _config()
  tree = jax.tree.structure(params.abstract_params(config))
  assert tree == jax.tree.structure(params.param_dims(config))
  assert tree == jax.tree.structure(_init(config))
  for layout in ("train", "decode"):
    shardings = params.param_shardings(config, _mesh(1, 1, 1, 1), layout)
    assert tree == jax.tree.structure(shardings)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_init_has_the_declared_shapes_and_scales(dtype):
  config = _config(param_dtype=dtype)
  drawn = _init(config)
  jax.tree.map(
    lambda x, want: (
      (x.shape, x.dtype) == (want.shape, want.dtype)
      or pytest.fail(f"{x.shape} {x.dtype} is not {want}")
    ),
    drawn,
    params.abstract_params(config),
  )
  layers = drawn["layers"]
  scale = 128**-0.5
  _expect_std(drawn["embed"]["table_VD"], scale)
  _expect_std(layers["attention"]["q_DNH"], scale)
  _expect_std(layers["ffn"]["up_DF"], scale)
  # Residual branches: 1 / √(fan-in · 2 L), here fan-in 128 and 256, L = 4.
  _expect_std(layers["attention"]["o_NHD"], 1 / np.sqrt(128 * 8))
  _expect_std(layers["ffn"]["down_FD"], 1 / np.sqrt(256 * 8))
  assert (np.asarray(layers["attention"]["k_bias_KH"]) == 0).all()
  assert (np.asarray(layers["ffn_norm"]["scale_D"]) == 1).all()
  assert (np.asarray(drawn["norm"]["scale_D"]) == 1).all()


def test_init_draws_differ_by_leaf_layer_and_key():
  config = _config()
  ffn = _init(config)["layers"]["ffn"]
  assert (ffn["up_DF"] != ffn["gate_DF"]).all()
  assert (ffn["up_DF"][0] != ffn["up_DF"][1]).all()
  other = jax.jit(params.init_params, static_argnums=1)(
    jax.random.key(1), config
  )
  assert (ffn["up_DF"] != other["layers"]["ffn"]["up_DF"]).all()


def test_sharded_init_equals_unsharded_init():
  config = _config()
  mesh = _mesh(1, 4, 1, 2)
  shardings = params.param_shardings(config, mesh, "train")
  init = jax.jit(params.init_params, static_argnums=1, out_shardings=shardings)
  spread = init(jax.random.key(0), config)
  jax.tree.map(np.testing.assert_array_equal, spread, _init(config))
  # [L, D, F] with D over fsdp × context = 4 and F over tensor = 2.
  pieces = spread["layers"]["ffn"]["up_DF"].addressable_shards
  assert {piece.data.shape for piece in pieces} == {(4, 128 // 4, 256 // 2)}


def test_check_mesh_accepts_what_divides():
  params.check_mesh(_config(), _mesh(2, 2, 1, 2), num_rows=8, sequence_len=64)


@pytest.mark.parametrize(
  "sizes, rows, words",
  [
    ((1, 1, 1, 8), 8, ("2 kv heads", "tensor = 8", "4 query heads")),
    ((4, 2, 1, 1), 12, ("12 rows", "data × fsdp = 8")),
    ((1, 1, 8, 1), 8, ("60 tokens", "context × tensor = 8")),
    ((1, 3, 1, 1), 9, ("128 model dim", "fsdp × context = 3")),
  ],
)
def test_check_mesh_names_both_numbers(sizes, rows, words):
  with pytest.raises(UsageError) as error:
    params.check_mesh(_config(), _mesh(*sizes), num_rows=rows, sequence_len=60)
  for word in words:
    assert word in str(error.value)


@pytest.mark.parametrize("sizes", [(1, 8, 1, 1), (1, 1, 1, 2), (1, 2, 2, 2)])
def test_little_is_left_unsplit(sizes):
  params.check_mesh(_config(), _mesh(*sizes), num_rows=8, sequence_len=64)


def test_check_mesh_refuses_weights_that_stay_whole():
  """With D = 8 the norms and biases are a good part of the model."""
  small = {"model_dim": 8, "head_dim": 8, "ffn_dim": 8, "vocab_size": 8}
  config = dataclasses.replace(_config(), **small)
  mesh = _mesh(1, 2, 1, 2)
  with pytest.raises(UsageError) as error:
    params.check_mesh(config, mesh, num_rows=8, sequence_len=64)
  # Per layer 2 × 8 of norms and 8 × (4 + 2 + 2) of biases; one norm more.
  unsplit = 4 * (2 * 8 + 8 * 8) + 8
  # Per layer 8 × 8 × (4 + 2 + 2 + 4) of attention, 3 × 8 × 8 of ffn.
  total = unsplit + 4 * (64 * 12 + 64 * 3) + 64
  for word in (
    f"{unsplit:,} of {total:,}",
    "= 4 devices",
    "ffn_norm",
    "q_bias",
  ):
    assert word in str(error.value)
  params.check_mesh(config, _mesh(4, 1, 1, 1), num_rows=8, sequence_len=64)


def _expect_std(x, std):
  x = np.asarray(x, np.float32)
  assert abs(x.std() / std - 1) < 0.02
  assert abs(x.mean()) < 4 * std / np.sqrt(x.size)
