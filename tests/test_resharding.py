"""Weights moved from the train to the decode layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kimina_jax.infra.mesh import (
  MeshSettings,
  local_mesh,
  make_mesh,
  replica_mesh,
)
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.rollouts.resharding import local_part, make_reshard


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tensor", [1, 2])
def test_reshard_casts_and_moves_every_weight(compute_dtype, tensor):
  config = _config(compute_dtype)
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  replicas = replica_mesh(mesh, tensor=tensor)
  params = _draw(config, mesh)
  moved = make_reshard(config, mesh, replicas)(params)
  layout = param_shardings(config, replicas, "decode")
  assert jax.tree.structure(moved) == jax.tree.structure(params)
  for new, old, sharding in zip(
    *map(jax.tree.leaves, (moved, params, layout)), strict=True
  ):
    assert new.dtype == compute_dtype
    assert new.sharding.is_equivalent_to(sharding, new.ndim)
    np.testing.assert_array_equal(new, np.asarray(old).astype(compute_dtype))


def test_every_destination_changes_with_its_source():
  config = _config("bfloat16")
  mesh = make_mesh(MeshSettings(data=1, fsdp=8, context=1, tensor=1))
  reshard = make_reshard(config, mesh, replica_mesh(mesh, tensor=1))
  first, second = (reshard(_draw(config, mesh, seed)) for seed in (0, 1))
  for before, after in zip(*map(jax.tree.leaves, (first, second)), strict=True):
    equal = np.asarray(before) == np.asarray(after)
    assert equal.mean() < 0.05  # of bfloat16 normals, a few agree by chance


def test_the_copy_outlives_the_trainers_weights():
  config = _config("float32")
  mesh = make_mesh(
    MeshSettings(data=1, fsdp=1, context=1, tensor=1), devices=jax.devices()[:1]
  )
  params = _draw(config, mesh)
  expected = jax.tree.map(np.array, params)
  moved = make_reshard(config, mesh, mesh)(params)
  update = jax.jit(lambda p: jax.tree.map(jnp.negative, p), donate_argnums=0)
  jax.block_until_ready(update(params))
  jax.tree.map(np.testing.assert_array_equal, moved, expected)


def test_the_local_part_of_a_lone_process_is_all_of_it_and_no_copy():
  config = _config("float32")
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  replicas = replica_mesh(mesh, tensor=2)
  moved = make_reshard(config, mesh, replicas)(_draw(config, mesh))
  part = local_part(moved, local_mesh(replicas))
  for mine, whole in zip(*map(jax.tree.leaves, (part, moved)), strict=True):
    np.testing.assert_array_equal(mine, whole)
    for one, other in zip(
      mine.addressable_shards, whole.addressable_shards, strict=True
    ):
      assert one.data.unsafe_buffer_pointer() == (
        other.data.unsafe_buffer_pointer()
      )


def _draw(config, mesh, seed: int = 0):
  """Random weights in the train layout."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf, sharding: jax.device_put(
      rng.standard_normal(leaf.shape, np.float32), sharding
    ),
    abstract_params(config),
    param_shardings(config, mesh, "train"),
  )


def _config(compute_dtype: str) -> ModelConfig:
  return ModelConfig(
    name="tiny",
    vocab_size=40,
    model_dim=32,
    num_layers=2,
    num_q_heads=4,
    num_kv_heads=2,
    head_dim=8,
    ffn_dim=48,
    tied=True,
    rope_theta=1e4,
    norm_eps=1e-6,
    max_position=512,
    param_dtype="float32",
    compute_dtype=compute_dtype,
    remat="none",
  )
