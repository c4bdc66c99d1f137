"""One update is the same on one, two, four and eight devices."""

import functools

import jax
import numpy as np
import pytest
from plain_settings import loss_settings, optimizer_settings

from kimina_jax.infra.mesh import AXES, MeshSettings, make_mesh
from kimina_jax.learning import batch as batching
from kimina_jax.learning import losses
from kimina_jax.learning import update as updating
from kimina_jax.learning.optimizer import make_optimizer
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params, param_shardings

CONFIG = ModelConfig(
  name="tiny",
  vocab_size=64,
  model_dim=32,
  num_layers=2,
  num_q_heads=8,
  num_kv_heads=4,
  head_dim=8,
  ffn_dim=64,
  tied=False,
  rope_theta=1e4,
  norm_eps=1e-6,
  max_position=64,
  param_dtype="float32",
  compute_dtype="float32",
  remat="full",
)
# (data, fsdp, context, tensor)
MESHES = [
  (1, 2, 1, 1),
  (1, 1, 2, 2),
  (1, 8, 1, 1),
  (1, 2, 2, 2),
  (2, 1, 4, 1),
  (2, 1, 1, 4),
]
TOLERANCE = 1e-5
SEQUENCE_LEN = 64
LENGTHS = (13, 9, 20, 8, 15, 11, 12, 10)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("shape", MESHES)
def test_mesh_does_not_matter(shape, packed):
  _assert_close(_updated(shape, packed), _updated((1, 1, 1, 1), packed))


def test_packing_does_not_matter():
  _assert_close(_updated((1, 1, 1, 1), True), _updated((1, 1, 1, 1), False))


def test_what_is_compared_is_not_nothing():
  """Gradients and steps are much larger than the tolerance."""
  _, grads, params = _updated((1, 1, 1, 1), True)
  for path, leaf in jax.tree.leaves_with_path(grads):
    # A bias of keys adds the same to all scores of a query: no gradient.
    if path[-1].key != "k_bias_KH":
      assert np.abs(leaf).max() > 100 * TOLERANCE, path
  moved = jax.tree.map(lambda x, y: np.abs(x - y).max(), params, _params())
  assert max(jax.tree.leaves(moved)) > 100 * TOLERANCE


def _assert_close(found, expected):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=TOLERANCE, rtol=1e-5),
    found,
    expected,
  )


@functools.cache
def _updated(shape, packed):
  """Metrics, summed gradients and parameters after an update."""
  mesh, optimizer, programs = _learner(shape)
  params = jax.device_put(_params(), param_shardings(CONFIG, mesh, "train"))
  state = updating.start_state(params, CONFIG, optimizer=optimizer, mesh=mesh)
  batch = _batch(packed)
  totals = losses.UpdateTotals(*np.float32([len(LENGTHS), 0, 0]))
  totals = jax.device_get(losses.add_to_totals(totals, batch))
  with jax.set_mesh(mesh):
    on_mesh = batching.put_batch(batch, mesh)
    sums = programs.gradient(state.params, on_mesh, totals)
    grads, _ = jax.device_get(sums)
    state, metrics = programs.apply(state, sums)
  assert metrics["finite"] == 1
  return jax.device_get(metrics), grads, jax.device_get(state.params)


@functools.cache
def _learner(shape):
  """Mesh, optimizer and what make_update runs; compiled once per shape."""
  devices = jax.devices()[: int(np.prod(shape))]
  mesh = make_mesh(
    MeshSettings(**dict(zip(AXES, shape, strict=True))), devices=devices
  )
  optimizer = make_optimizer(optimizer_settings())
  loss = losses.make_loss(loss_settings(), max_len=16)
  return (
    mesh,
    optimizer,
    updating.make_update_programs(
      CONFIG, optimizer, loss=loss, mesh=mesh, vocab_block_size=16
    ),
  )


def _batch(packed):
  """Eight rows: one sequence each, or all in a few, the rest padding."""
  rng = np.random.default_rng(0)
  examples = [
    batching.Example(
      name=str(i),
      tokens=rng.integers(0, CONFIG.vocab_size, size).astype(np.int32),
      num_prompt=4,
      advantage=float(rng.normal()),
      sampler_logps=-4 * rng.random(size - 4, np.float32),
    )
    for i, size in enumerate(LENGTHS)
  ]
  rows = [[example] for example in examples]
  if packed:
    rows = batching.fill_rows(examples, sequence_len=SEQUENCE_LEN)
    assert len(rows) < len(examples)
  batch = batching.stack_rows(
    rows, sequence_len=SEQUENCE_LEN, rows_per_batch=len(examples)
  )
  old_logp_BT = batch.response_BT * (batch.sampler_logp_BT - 3.5)
  return batch._replace(old_logp_BT=old_logp_BT)


def _params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype),
    abstract_params(CONFIG),
  )
