"""Updates: equal on every mesh and packing; non-finite values are rejected."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_settings import loss_settings, optimizer_settings

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.learning import batch as batching
from kimina_jax.learning import losses
from kimina_jax.learning import update as updating
from kimina_jax.learning.optimizer import make_optimizer, warmup_cosine
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import (
  abstract_params,
  init_params,
  param_shardings,
)

CONFIG = ModelConfig(
  name="tiny",
  vocab_size=48,
  model_dim=16,
  num_layers=2,
  num_q_heads=4,
  num_kv_heads=2,
  head_dim=4,
  ffn_dim=32,
  tied=True,
  rope_theta=1e4,
  norm_eps=1e-6,
  max_position=64,
  param_dtype="float32",
  compute_dtype="float32",
  remat="none",
)
NUM_SEQUENCES = 20
KIMI = losses.make_loss(loss_settings(), max_len=16)


def _params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(leaf.dtype),
    abstract_params(CONFIG),
  )


def _mesh(*sizes: int) -> jax.sharding.Mesh:
  data, fsdp, tensor = sizes
  devices = jax.devices()[: data * fsdp * tensor]
  return make_mesh(
    MeshSettings(data=data, fsdp=fsdp, context=1, tensor=tensor),
    devices=devices,
  )


@functools.cache
def _learner(sizes=(1, 1, 1), loss=KIMI, eps=1e-2):
  """Mesh, maker of fresh states, scorer, update; compiled once per run."""
  mesh, optimizer = _mesh(*sizes), make_optimizer(optimizer_settings(eps=eps))

  def new_state():
    shardings = param_shardings(CONFIG, mesh, "train")
    params = jax.device_put(_params(), shardings)
    return updating.start_state(params, CONFIG, optimizer=optimizer, mesh=mesh)

  return (
    mesh,
    new_state,
    updating.make_old_logprobs(CONFIG, mesh=mesh, vocab_block_size=16),
    updating.make_update(
      CONFIG, optimizer, loss=loss, mesh=mesh, vocab_block_size=16
    ),
  )


def _examples(num: int = 16) -> list[batching.Example]:
  rng = np.random.default_rng(0)
  examples = []
  for i in range(num):
    num_prompt, size = rng.integers(1, 6), rng.integers(8, 20)
    examples.append(
      batching.Example(
        name=str(i),
        tokens=rng.integers(0, CONFIG.vocab_size, size).astype(np.int32),
        num_prompt=int(num_prompt),
        advantage=float(rng.normal()),
        sampler_logps=-rng.random(size - num_prompt, np.float32),
      )
    )
  return examples


def _pack(examples, rows_per_batch=8):
  """Packed batches whose old_logp_BT differs from the policy's."""
  batches = batching.pack(
    examples, sequence_len=64, rows_per_batch=rows_per_batch
  )
  return [_with_old_logps(batch) for batch in batches]


def _with_old_logps(batch):
  return batch._replace(
    old_logp_BT=batch.response_BT * (batch.sampler_logp_BT - 3.5)
  )


def _updated(batches, *, sizes=(1, 1, 1), num_updates=1):
  """Parameters (NumPy) and metrics after updates with these batches."""
  mesh, new_state, _, update = _learner(sizes)
  state = new_state()
  on_mesh = [batching.put_batch(batch, mesh) for batch in batches]
  for _ in range(num_updates):
    state, metrics = update(state, on_mesh, NUM_SEQUENCES)
  return jax.device_get((state.params, metrics))


def _assert_close(found, expected, *, atol):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=atol, rtol=1e-5),
    found,
    expected,
  )


def _max_change(new, old) -> float:
  return max(
    float(np.abs(x - y).max())
    for x, y in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
  )


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2)])
def test_eight_devices_make_the_update_of_one(sizes):
  batches = _pack(_examples())
  params, metrics = _updated(batches, sizes=sizes, num_updates=2)
  expected, expected_metrics = _updated(batches, num_updates=2)
  _assert_close(params, expected, atol=1e-5)
  _assert_close(metrics, expected_metrics, atol=1e-5)
  assert _max_change(expected, _params()) > 1e-3


def test_packing_does_not_matter():
  """Packed in one batch, or a row per sequence spread over four batches."""
  examples = _examples()
  padded = [
    _with_old_logps(
      batching.stack_rows(
        [[example] for example in examples[i : i + 4]],
        sequence_len=64,
        rows_per_batch=8,
      )
    )
    for i in range(0, 16, 4)
  ]
  packed = _pack(examples)
  assert len(packed) == 1
  params, metrics = _updated(packed)
  expected, expected_metrics = _updated(padded)
  _assert_close(params, expected, atol=2e-6)
  _assert_close(metrics, expected_metrics, atol=2e-6)


def test_a_sequence_left_out_is_a_sequence_of_weight_zero():
  """The denominator counts it in both cases."""
  examples = _examples()
  params, metrics = _updated(_pack(examples[4:]))
  (batch,) = _pack(examples)
  dropped_BM = np.zeros_like(batch.weight_BM, bool)
  for b, s in np.argwhere(batch.weight_BM):
    advantage = batch.advantage_BM[b, s]
    dropped_BM[b, s] = any(
      np.float32(example.advantage) == advantage for example in examples[:4]
    )
  assert dropped_BM.sum() == 4
  weighted = batch._replace(weight_BM=np.float32(batch.weight_BM * ~dropped_BM))
  expected, expected_metrics = _updated([weighted])
  _assert_close(params, expected, atol=2e-6)
  _assert_close(metrics, expected_metrics, atol=2e-6)


def test_metrics_of_the_first_update_of_an_iteration():
  mesh, new_state, compute_old_logprobs, update = _learner()
  state = new_state()
  batches = [batching.put_batch(batch, mesh) for batch in _pack(_examples())]
  batches = [compute_old_logprobs(state.params, batch) for batch in batches]
  _, metrics = jax.device_get(update(state, batches, NUM_SEQUENCES))
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))  # donated
  assert metrics["rho_abs"] < 1e-4
  assert abs(metrics["loss"]) < 1e-5
  assert metrics["sign_flips"] == 0
  assert 0 < metrics["entropy"] <= np.log(CONFIG.vocab_size)
  assert metrics["grad_norm"] > 0
  np.testing.assert_allclose(metrics["learning_rate"], 1e-2)
  assert metrics["finite"] == 1


def test_learning_raises_what_was_better_and_lowers_what_was_worse():
  mesh, new_state, compute_old_logprobs, update = _learner()
  state = new_state()
  good, bad = (
    dataclasses.replace(example, advantage=advantage)
    for example, advantage in zip(_examples(2), (1.0, -1.0), strict=True)
  )
  (batch,) = batching.pack([good, bad], sequence_len=64, rows_per_batch=8)
  before = compute_old_logprobs(state.params, batching.put_batch(batch, mesh))
  for _ in range(3):
    state, _ = update(state, [before], 2)
  after = compute_old_logprobs(state.params, before)
  change_T = np.asarray(after.old_logp_BT - before.old_logp_BT)[0]
  change_T = change_T * batch.response_BT[0]
  assert change_T[batch.segments_BT[0] == 1].sum() > 0.1
  assert change_T[batch.segments_BT[0] == 2].sum() < -0.1


def test_an_update_without_samples_changes_nothing():
  params, metrics = _updated(_pack([]))
  assert metrics["finite"] == 1
  assert metrics["loss"] == metrics["grad_norm"] == metrics["entropy"] == 0
  jax.tree.map(np.testing.assert_array_equal, params, _params())


def test_a_non_finite_loss_leaves_the_state_alone():
  mesh, new_state, _, update = _learner()
  (batch,) = _pack(_examples())
  before = jax.device_get(new_state())
  broken_BT = batch.old_logp_BT.copy()
  broken_BT[np.nonzero(batch.response_BT)] = np.nan
  broken = batch._replace(old_logp_BT=broken_BT)
  state, metrics = update(
    new_state(),
    [batching.put_batch(b, mesh) for b in (batch, broken)],
    NUM_SEQUENCES,
  )
  jax.tree.map(np.testing.assert_array_equal, state, before)
  with pytest.raises(FloatingPointError, match="iteration 7: loss = nan"):
    updating.check_finite(jax.device_get(metrics), "iteration 7")
  # The state can be updated as if nothing had happened.
  state, metrics = update(
    state, [batching.put_batch(batch, mesh)], NUM_SEQUENCES
  )
  updating.check_finite(jax.device_get(metrics), "iteration 8")
  expected, _ = _updated([batch])
  jax.tree.map(np.testing.assert_array_equal, state.params, expected)


def test_imitation_learns_its_demonstrations():
  mesh, new_state, compute_old_logprobs, update = _learner(
    loss=losses.sft, eps=1e-8
  )
  state = new_state()
  (batch,) = batching.pack(_examples(6), sequence_len=64, rows_per_batch=8)
  on_mesh = batching.put_batch(batch, mesh)
  # The loss is the mean negative log-prob of response tokens.
  logp_BT = np.asarray(compute_old_logprobs(state.params, on_mesh).old_logp_BT)
  expected = -logp_BT[batch.response_BT == 1].mean()
  history = []
  for _ in range(40):
    state, metrics = update(state, [on_mesh], 6)
    history.append(float(metrics["loss"]))
  np.testing.assert_allclose(history[0], expected, rtol=1e-5)
  assert history[-1] < 0.5 * history[0]


def test_resetting_keeps_the_schedule():
  mesh = _mesh(2, 2, 2)
  schedule = warmup_cosine(1e-2, 10, warmup_fraction=0.2)
  for reset in (True, False):
    settings = optimizer_settings(reset=reset)
    optimizer = make_optimizer(settings, schedule=schedule)
    begin = updating.make_begin_iteration(CONFIG, optimizer, mesh=mesh)
    state = updating.start_state(
      jax.device_put(_params(), param_shardings(CONFIG, mesh, "train")),
      CONFIG,
      optimizer=optimizer,
      mesh=mesh,
    )
    used = state._replace(
      opt_state=jax.tree.map(lambda x: x + 1, state.opt_state),
      num_updates=state.num_updates + 5,
    )
    renewed = begin(used)
    assert renewed.num_updates == 5
    expected = state.opt_state if reset else used.opt_state
    jax.tree.map(np.testing.assert_array_equal, renewed.opt_state, expected)


def test_a_new_state_has_the_abstract_states_layout():
  config = dataclasses.replace(CONFIG, param_dtype="bfloat16")
  mesh, optimizer = _mesh(1, 4, 2), make_optimizer(optimizer_settings())
  init = jax.jit(
    init_params,
    static_argnums=1,
    out_shardings=param_shardings(config, mesh, "train"),
  )
  state = updating.start_state(
    init(jax.random.key(0), config), config, optimizer=optimizer, mesh=mesh
  )
  abstract = updating.abstract_state(config, optimizer, mesh=mesh)

  def check(x: jax.Array, wanted: jax.ShapeDtypeStruct) -> None:
    assert x.shape == wanted.shape
    assert x.dtype == wanted.dtype
    assert x.sharding.is_equivalent_to(wanted.sharding, x.ndim)

  jax.tree.map(check, state, abstract)
  gate = state.params["layers"]["ffn"]["gate_DF"]
  assert gate.dtype == jnp.bfloat16
  assert gate.addressable_shards[0].data.shape == (2, 16 // 4, 32 // 2)
  moments = [
    leaf
    for leaf in jax.tree.leaves(state.opt_state)
    if leaf.shape == gate.shape and leaf.sharding == gate.sharding
  ]
  assert {leaf.dtype for leaf in moments} == {jnp.dtype("float32")}
  assert len(moments) >= 2


def test_offloaded_moments_live_on_the_host_and_change_no_number():
  """Two updates of several batches each, and a reset between them."""
  mesh = _mesh(1, 2, 1)
  batches = [
    batching.put_batch(batch, mesh)
    for batch in _pack(_examples(), rows_per_batch=4)
  ]
  assert len(batches) > 1
  found = {}
  for offload in (False, True):
    optimizer = make_optimizer(optimizer_settings(offload=offload))
    update = updating.make_update(CONFIG, optimizer, loss=KIMI, mesh=mesh)
    begin = updating.make_begin_iteration(CONFIG, optimizer, mesh=mesh)
    params = jax.device_put(_params(), param_shardings(CONFIG, mesh, "train"))
    state = updating.start_state(params, CONFIG, optimizer=optimizer, mesh=mesh)
    state, _ = update(state, batches, NUM_SEQUENCES)
    used = jax.device_get(state.opt_state)
    state, _ = update(begin(state), batches, NUM_SEQUENCES)
    wanted = updating.abstract_state(CONFIG, optimizer, mesh=mesh)
    for x, like in zip(
      jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True
    ):
      assert x.sharding.memory_kind == like.sharding.memory_kind
      assert x.sharding.is_equivalent_to(like.sharding, x.ndim)
    kinds = {
      leaf.sharding.memory_kind
      for leaf in jax.tree.leaves(state.opt_state)
      if leaf.ndim
    }
    assert kinds == {"pinned_host" if offload else "device"}
    found[offload] = used, jax.device_get(state)
  jax.tree.map(np.testing.assert_array_equal, found[True], found[False])


def test_the_loop_moves_nothing_between_host_and_devices():
  mesh, new_state, compute_old_logprobs, update = _learner()
  state = new_state()
  batches = _pack(_examples())
  with jax.transfer_guard("disallow"):
    on_mesh = [batching.put_batch(batch, mesh) for batch in batches]
    on_mesh = [compute_old_logprobs(state.params, batch) for batch in on_mesh]
    update(state, on_mesh, NUM_SEQUENCES)
