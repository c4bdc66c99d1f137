"""The model against transformers' Qwen2, and against itself on meshes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from plain_settings import model_settings

from benchmarks.hf_params import load_params
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model import paged, params, transformer
from kimina_jax.model.config import (
  REMATS,
  ModelConfig,
  RopeScaling,
  model_config,
)
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.model.paged import BlockTables

TOLERANCE = 1e-4  # on logits

# (data, fsdp, context, tensor) on eight devices.
MESHES = [(1, 8, 1, 1), (1, 2, 2, 2), (2, 2, 1, 2)]


def _config(**changes) -> ModelConfig:
  small = model_config(model_settings())
  sizes = {"vocab_size": 210, "model_dim": 48, "num_layers": 2, "ffn_dim": 88}
  return dataclasses.replace(small, **(sizes | changes))


CONFIGS = {
  "tied_G2": _config(),
  "untied_G1": _config(tied=False, num_q_heads=3, num_kv_heads=3, head_dim=10),
  "tied_G7": _config(
    num_q_heads=14, num_kv_heads=2, head_dim=6, model_dim=20, rope_theta=1e6
  ),
  "untied_odd": _config(
    tied=False,
    num_kv_heads=1,
    head_dim=16,
    vocab_size=97,
    model_dim=33,
    ffn_dim=7,
    norm_eps=1e-3,
    rope_theta=123.0,
  ),
}

# Trained for 8 positions, so that the tests' rows reach far beyond.
SCALINGS = {
  "linear": RopeScaling("linear", 3.0, 8),
  "yarn": RopeScaling("yarn", 8.0, 8),
  "yarn_betas": RopeScaling(
    "yarn", 5.0, 8, beta_fast=3.0, beta_slow=0.2, truncate=False
  ),
  "yarn_attention": RopeScaling("yarn", 8.0, 8, attention_factor=1.4),
  "yarn_mscale": RopeScaling(
    "yarn", 8.0, 8, mscale=0.7, mscale_all_dim=1.6, beta_slow=0.1
  ),
}


@pytest.fixture(autouse=True)
def one_device():
  """forward pins layouts in the mesh that is set."""
  with jax.set_mesh(_mesh(1, 1, 1, 1)):
    yield


@pytest.fixture(scope="module", params=CONFIGS)
def case(request, tmp_path_factory):
  """(config, our weights, transformers' model with the same weights)."""
  config = CONFIGS[request.param]
  model = _reference(config)
  directory = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(directory)
  return config, load_params(directory, config), model


def test_logits_equal_transformers(case):
  config, weights, model = case
  tokens_BT = _tokens(config, 2, 37)
  got = _logits(weights, config, tokens_BT, _positions(tokens_BT))
  np.testing.assert_allclose(got, _oracle(model, tokens_BT), atol=TOLERANCE)


@pytest.mark.parametrize("name", SCALINGS)
def test_scaled_rotary_equals_transformers(name, tmp_path):
  scaling = SCALINGS[name]
  config = _config(
    rope_scaling=scaling,
    max_position=round(8 * scaling.factor),
    rope_theta=50.0,
  )
  model = _reference(config)
  assert model.config.rope_parameters["rope_type"] == scaling.kind
  model.save_pretrained(tmp_path)
  weights = load_params(tmp_path, config)
  tokens_BT = _tokens(config, 2, 37)
  args = (tokens_BT, _positions(tokens_BT))
  got = _logits(weights, config, *args)
  np.testing.assert_allclose(got, _oracle(model, tokens_BT), atol=TOLERANCE)
  plain = _logits(weights, _config(rope_theta=50.0), *args)
  assert np.abs(got - plain).max() > 0.1


def test_pages_token_by_token_equal_transformers(case):
  """Row b begins in forward b: its prompt by chunks, its others in a slot."""
  config, weights, model = case
  prompt_len, total, size, num_seen = 9, 21, 4, 0
  tokens_BT = _tokens(config, 3, total)
  want = _oracle(model, tokens_BT)
  tables_BJ = np.random.default_rng(0).permutation(18).reshape(3, 6)
  cache = paged.init_pages(config, num_pages=18, page_size=size, dtype="auto")
  decode = _decode(config)
  for turn in range(total - prompt_len + 3):
    row = min(turn, 2)
    rows = np.append(np.arange(3), np.full(3 * size, row))
    positions = np.full(len(rows), -1, np.int32)
    slots = prompt_len + turn - 1 - np.arange(3)
    positions[:3] = np.where((slots < prompt_len) | (slots >= total), -1, slots)
    if turn < 3:
      positions[3 : 3 + prompt_len] = np.arange(prompt_len)
    tokens = tokens_BT[rows, positions]
    block_tables = BlockTables(tables_BJ[None], tables_BJ[None, [row] * 3])
    got, cache = decode(
      weights, tokens[None], positions[None], cache, block_tables
    )
    used = positions >= 0
    np.testing.assert_allclose(
      got[0][used], want[rows, positions][used], atol=TOLERANCE
    )
    num_seen += used.sum()
  assert num_seen == 3 * total


def test_packed_segments_equal_separate_rows(case):
  config, weights, model = case
  lengths = (7, 1, 11)
  tokens = _tokens(config, 1, sum(lengths) + 4)
  segments = np.repeat([1, 2, 3, 0], [*lengths, 4])[None]
  positions = np.concatenate([np.arange(n) for n in (*lengths, 4)])[None]
  got = _logits(weights, config, tokens, positions, segments)
  assert np.isfinite(got).all()
  start = 0
  for length in lengths:
    stop = start + length
    want = _oracle(model, tokens[:, start:stop])
    np.testing.assert_allclose(got[:, start:stop], want, atol=TOLERANCE)
    start = stop


@pytest.mark.parametrize("shape", MESHES)
def test_sharded_equals_unsharded(shape):
  """Packed loss and gradients, weights and rows split over 8 devices."""
  config = _config(vocab_size=208)
  weights, batch = _draw(config), _packed_batch(config)
  want = _value_and_grad(config)(weights, *batch)
  mesh = _mesh(*shape)
  shardings = params.param_shardings(config, mesh, "train")
  with jax.set_mesh(mesh):
    got = _value_and_grad(config)(jax.device_put(weights, shardings), *batch)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, want
  )


@pytest.mark.parametrize("name", REMATS[1:])
def test_remat_gives_equal_loss_and_gradients(name):
  plain = _config(vocab_size=208)
  remat = dataclasses.replace(plain, remat=name)
  args = (_draw(plain), *_packed_batch(plain))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    _value_and_grad(remat)(*args),
    _value_and_grad(plain)(*args),
  )


@pytest.mark.parametrize(
  "name, dims",
  [
    ("full", {"BTD"}),
    ("save_attention", {"BTD", "BTNH"}),
    ("save_projections", {"BTD", "BTNH", "BTKH", "BTF"}),
  ],
)
def test_remat_saves_what_its_name_says(name, dims):
  """Activations saved for the backward pass are stacked on L."""
  config = _config(
    vocab_size=208,
    num_layers=3,
    remat=name,
    attention="xla",
    compute_dtype="bfloat16",
  )
  tokens, positions, segments = _packed_batch(config)
  _, pull = jax.eval_shape(
    lambda weights: jax.vjp(
      lambda w: transformer.forward(
        w, config, tokens, positions, segments_BT=segments
      )[0],
      weights,
    ),
    params.abstract_params(config),
  )
  sizes = config.sizes | {"B": 8, "T": 24}
  want = {tuple(sizes[dim] for dim in "L" + x) for x in dims}
  found = [leaf for leaf in jax.tree.leaves(pull) if leaf.shape[:1] == (3,)]
  stacked = [leaf for leaf in found if leaf.shape[1:3] == (8, 24)]
  assert {leaf.shape for leaf in stacked} == want
  assert {leaf.dtype for leaf in stacked} == {jnp.dtype(jnp.bfloat16)}


def test_bfloat16_compute_keeps_float32_logits_and_gradients():
  exact = _config()
  rough = dataclasses.replace(exact, compute_dtype="bfloat16")
  weights = _draw(exact)
  tokens = _tokens(exact, 2, 16)
  args = (tokens, _positions(tokens))
  forward = functools.partial(transformer.forward, config=rough)
  hidden, _ = jax.eval_shape(
    lambda w: forward(w, tokens_BT=tokens, positions_BT=args[1]), weights
  )
  assert hidden.dtype == jnp.bfloat16
  got = _logits(weights, rough, *args)
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, _logits(weights, exact, *args), atol=0.15)
  _, grads = jax.eval_shape(
    _value_and_grad(rough), weights, *args, np.ones_like(tokens)
  )
  assert {x.dtype.name for x in jax.tree.leaves(grads)} == {"float32"}


def test_no_mesh_is_an_error():
  config = _config()
  ones = np.ones((1, 1), np.int32)
  with jax.set_mesh(None), pytest.raises(ValueError, match="mesh"):
    transformer.forward(_draw(config), config, ones, ones)


def _mesh(data, fsdp, context, tensor):
  num = data * fsdp * context * tensor
  return make_mesh(
    MeshSettings(data=data, fsdp=fsdp, context=context, tensor=tensor),
    devices=jax.devices()[:num],
  )


@functools.cache
def _draw(config):
  init = jax.jit(params.init_params, static_argnums=1)
  return init(jax.random.key(0), config)


def _reference(config) -> transformers.Qwen2ForCausalLM:
  """A random Qwen2 whose biases and norms matter."""
  torch.manual_seed(config.model_dim)
  model = transformers.Qwen2ForCausalLM(
    transformers.Qwen2Config(**config_to_hf(config))
  )
  for name, value in model.named_parameters():
    noise = 0.2 * torch.randn_like(value)
    value.data = noise + 1 if "norm" in name else noise
  return model.eval()


def _oracle(model, tokens_BT) -> np.ndarray:
  with torch.no_grad():
    return model(torch.tensor(tokens_BT)).logits.numpy()


def _tokens(config, rows, length) -> np.ndarray:
  rng = np.random.default_rng([rows, length])
  return rng.integers(0, config.vocab_size, (rows, length))


def _positions(tokens_BT) -> np.ndarray:
  return np.tile(np.arange(tokens_BT.shape[1]), (tokens_BT.shape[0], 1))


def _logits(weights, config, tokens, positions, segments=None) -> np.ndarray:
  return np.asarray(_forward(config)(weights, tokens, positions, segments))


@functools.cache
def _forward(config):
  @jax.jit
  def run(weights, tokens, positions, segments):
    hidden, cache = transformer.forward(
      weights, config, tokens, positions, segments_BT=segments
    )
    assert cache is None
    return transformer.unembed(weights, config, hidden)

  return run


def _decode(config):
  @functools.partial(jax.jit, donate_argnums=3)
  def run(weights, tokens, positions, cache, block_tables):
    hidden, cache = transformer.forward(
      weights,
      config,
      tokens,
      positions,
      cache=cache,
      block_tables=block_tables,
      layout="decode",
    )
    return transformer.unembed(weights, config, hidden), cache

  return run


def _packed_batch(config):
  """Rows of two segments and some padding."""
  tokens = _tokens(config, 8, 24)
  segments = np.repeat([1, 2, 0], [10, 12, 2])[None].repeat(8, 0)
  positions = np.concatenate([np.arange(n) for n in (10, 12, 2)])
  return tokens, positions[None].repeat(8, 0), segments


@functools.cache
def _value_and_grad(config):
  """Loss over real tokens, mean square of the logits, and its gradient."""

  def loss(weights, tokens, positions, segments):
    hidden, _ = transformer.forward(
      weights, config, tokens, positions, segments_BT=segments
    )
    logits = transformer.unembed(weights, config, hidden)
    return jnp.mean(jnp.square(logits) * (segments > 0)[..., None])

  return jax.jit(jax.value_and_grad(loss))
