"""Chunked log-probabilities against a plain log_softmax per sequence."""

import dataclasses
import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.learning import batch as batching
from kimina_jax.learning import logprobs
from kimina_jax.learning.logprobs import token_logprobs
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.model.transformer import forward, unembed

SIZES = (13, 1, 9, 20, 6)


def _config(*, tied: bool = True, vocab_size: int = 48) -> ModelConfig:
  return ModelConfig(
    name="tiny",
    vocab_size=vocab_size,
    model_dim=16,
    num_layers=2,
    num_q_heads=4,
    num_kv_heads=2,
    head_dim=4,
    ffn_dim=32,
    tied=tied,
    rope_theta=1e4,
    norm_eps=1e-6,
    max_position=64,
    param_dtype="float32",
    compute_dtype="float32",
    remat="none",
  )


def _mesh(**sizes: int) -> jax.sharding.Mesh:
  sizes = {"data": 1, "fsdp": 1, "context": 1, "tensor": 1, **sizes}
  return make_mesh(
    MeshSettings(**sizes), devices=jax.devices()[: np.prod([*sizes.values()])]
  )


def _params(config: ModelConfig):
  """Large enough that attention and vocabulary are far from uniform."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype),
    abstract_params(config),
  )


def _sequences(config: ModelConfig) -> list[np.ndarray]:
  rng = np.random.default_rng(0)
  return [
    rng.integers(0, config.vocab_size, size).astype(np.int32) for size in SIZES
  ]


def _packed(sequences):
  examples = [
    batching.Example("x", tokens, 0, 0.0, np.zeros(len(tokens), np.float32))
    for tokens in sequences
  ]
  (batch,) = batching.pack(examples, sequence_len=40, rows_per_batch=4)
  return batch


def _plain(params, config, tokens_BT):
  """log p of each next token and entropy from all logits at once."""
  positions_BT = jnp.broadcast_to(
    jnp.arange(tokens_BT.shape[1]), tokens_BT.shape
  )
  hidden_BTD, _ = forward(params, config, tokens_BT, positions_BT)
  every_BTV = jax.nn.log_softmax(unembed(params, config, hidden_BTD))
  logp_BT = jnp.take_along_axis(
    every_BTV[:, :-1], tokens_BT[:, 1:, None], axis=2
  )[..., 0]
  entropy_BT = -jnp.sum(jnp.exp(every_BTV) * every_BTV, axis=2)[:, :-1]
  return logp_BT, entropy_BT


def _expected(params, config, sequences, batch):
  """From a row per sequence, laid out as the batch."""
  padded_BT = np.zeros((len(sequences), max(SIZES)), np.int32)
  for row_T, sequence in zip(padded_BT, sequences, strict=True):
    row_T[: len(sequence)] = sequence
  plain = jax.jit(_plain, static_argnums=1)(params, config, padded_BT)
  result = []
  for plain_BT in plain:
    out_BT = np.zeros(batch.tokens_BT.shape)
    for i, sequence in enumerate(sequences):
      # Sequence i starts where its first tokens stand.
      size = len(sequence)
      ((b, start),) = [
        (b, start)
        for b, start in np.argwhere(batch.positions_BT == 0)
        if batch.segments_BT[b, start]
        and np.array_equal(batch.tokens_BT[b, start : start + size], sequence)
      ]
      out_BT[b, start + 1 : start + size] = plain_BT[i, : size - 1]
    result.append(out_BT)
  return result


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
  "sizes",
  [
    {},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"fsdp": 2, "context": 2, "tensor": 2},
  ],
  ids=["1", "rows", "context"],
)
def test_packed_chunks_are_plain_log_softmax(tied, sizes):
  config, mesh = _config(tied=tied), _mesh(**sizes)
  params = _params(config)
  sequences = _sequences(config)
  batch = _packed(sequences)
  with jax.set_mesh(_mesh()):
    expected = _expected(params, config, sequences, batch)
  params = jax.device_put(params, param_shardings(config, mesh, "train"))
  on_mesh = batching.put_batch(batch, mesh)
  with jax.set_mesh(mesh):
    # 10 does not divide 48, nor 24: the last block is padded.
    score = jax.jit(
      token_logprobs, static_argnums=1, static_argnames="vocab_block_size"
    )
    found = score(params, config, *on_mesh[:3], vocab_block_size=10)
  for found_BT, expected_BT in zip(found, expected, strict=True):
    np.testing.assert_allclose(found_BT, expected_BT, atol=2e-5)


@pytest.mark.parametrize(
  "sizes",
  [{}, {"data": 2, "context": 2, "tensor": 2}, {"fsdp": 4, "tensor": 2}],
  ids=["1", "context", "fsdp"],
)
def test_gradient_is_that_of_plain_log_softmax(sizes):
  """By the table's vectors, and through the hidden vectors to the norm."""
  config = _config(tied=False)
  params = _params(config)
  head = {name: params[name] for name in ("norm", "unembed")}
  tokens_BT = np.stack([_sequences(config)[3]] * 4)
  tokens_BT[1::2] = tokens_BT[1::2, ::-1]
  positions_BT = np.broadcast_to(np.arange(20, dtype=np.int32), (4, 20))
  weight_BT = np.linspace(-1, 1, 76, dtype=np.float32).reshape(4, 19)

  def chunked(head, tokens_BT, positions_BT, segments_BT):
    logp_BT, _ = token_logprobs(
      jax.tree.map(jnp.asarray, params) | head,
      config,
      tokens_BT,
      positions_BT,
      segments_BT,
      vocab_block_size=10,
    )
    return jnp.sum(logp_BT[:, 1:] * weight_BT)

  def plain(head):
    return jnp.sum(_plain(params | head, config, tokens_BT)[0] * weight_BT)

  with jax.set_mesh(_mesh()):
    expected = jax.jit(jax.grad(plain))(head)
  mesh = _mesh(**sizes)
  shardings = param_shardings(config, mesh, "train")
  head = jax.device_put(head, {name: shardings[name] for name in head})
  by_token = batching.batch_shardings(mesh).tokens_BT
  inputs = (tokens_BT, positions_BT, np.ones_like(tokens_BT))
  with jax.set_mesh(mesh):
    found = jax.jit(jax.grad(chunked))(head, *jax.device_put(inputs, by_token))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4),
    found,
    expected,
  )


def _largest(jaxpr) -> int:
  """Elements of the largest value computed anywhere in a program."""
  sizes = [0]
  for equation in jaxpr.eqns:
    sizes += [int(np.prod(var.aval.shape)) for var in equation.outvars]
    inner = jax.extend.core.jaxprs_in_params(equation.params)
    sizes += [_largest(jaxpr) for jaxpr in inner]
  return max(sizes)


def test_no_array_holds_all_logits():
  """At the sizes of the largest runs, in forward and in backward."""
  T, V = 32768, 152064
  # Few heads: attention is another matter, and plain off the accelerators.
  config = dataclasses.replace(
    _config(vocab_size=V), num_q_heads=1, num_kv_heads=1
  )
  params = abstract_params(config)
  zeros_BT = jnp.zeros((1, T), jnp.int32)

  def total(params):
    logp_BT, entropy_BT = token_logprobs(
      params, config, zeros_BT, zeros_BT, zeros_BT
    )
    return jnp.sum(logp_BT) + jnp.sum(entropy_BT)

  def plain_total(params):
    return jnp.sum(_plain(params, config, zeros_BT)[0])

  with jax.set_mesh(_mesh()):
    for function in (total, jax.grad(total)):
      assert _largest(jax.make_jaxpr(function)(params).jaxpr) < T * V
    # The same measure finds the array of the plain version.
    assert _largest(jax.make_jaxpr(plain_total)(params).jaxpr) >= T * V


@pytest.mark.parametrize("num_tokens", [1, 500, 4096, 32768])
@pytest.mark.parametrize("vocab_size", [672, 38016, 151936, 152064])
def test_blocks_are_bounded_and_cover_the_vocabulary(num_tokens, vocab_size):
  table = jax.ShapeDtypeStruct((vocab_size, 4), jnp.float32)
  table_WVD, entry_WV = jax.eval_shape(
    lambda x: logprobs._blocks(x, num_tokens, None), table
  )
  num_blocks, size, _ = table_WVD.shape
  assert entry_WV.shape == (num_blocks, size)
  assert (num_blocks - 1) * size < vocab_size <= num_blocks * size
  assert num_tokens * size * 4 <= 130 * 2**20
  assert num_blocks == 1 or size % 128 == 0


def test_every_logit_counts_once_when_blocks_are_padded():
  """One token's logits by hand: the padding of a block has no weight."""
  table_VD = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
  x_D = np.float32([1, -2, 3, 0.5])
  with jax.set_mesh(_mesh()):
    logp_BT, entropy_BT = jax.jit(logprobs._scores, static_argnums=0)(
      5, table_VD, x_D[None, None], np.int32([[22]])
    )
  logits_V = np.float64(table_VD) @ x_D
  p_V = np.exp(logits_V) / np.exp(logits_V).sum()
  np.testing.assert_allclose(logp_BT[0, 0], np.log(p_V[22]), rtol=1e-5)
  np.testing.assert_allclose(
    entropy_BT[0, 0], -(p_V * np.log(p_V)).sum(), rtol=1e-5
  )
