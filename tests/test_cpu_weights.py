"""Layers apart give what stacked ones give, and hold the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_settings import model_settings
from tiny_sampler import (
  CONFIG,
  LetterTokenizer,
  assert_same,
  by_row,
  draw_params,
  generate,
  make_engine,
  one_device,
  options,
)

from kimina_jax.model import cpu_weights
from kimina_jax.model.config import model_config
from kimina_jax.model.paged import Ragged, init_pages
from kimina_jax.model.transformer import forward
from kimina_jax.rollouts.engine import Engine


def test_weights_have_what_is_contracted_last(monkeypatch):
  monkeypatch.setattr(cpu_weights, "_num_cores", lambda: 2)
  params = draw_params(one_device())
  layers = cpu_weights.take_apart(params, CONFIG)["layers"]
  assert len(layers) == CONFIG.num_layers
  stacked = params["layers"]
  for index, layer in enumerate(layers):
    q_gNHD = np.asarray(layer["attention"]["q_DNH"])
    o_gDNH = np.asarray(layer["attention"]["o_NHD"])
    down_gDF = np.asarray(layer["ffn"]["down_FD"])
    assert q_gNHD.shape[0] == o_gDNH.shape[0] == down_gDF.shape[0] == 2
    np.testing.assert_array_equal(
      np.concatenate(q_gNHD),
      np.moveaxis(stacked["attention"]["q_DNH"][index], 0, -1),
    )
    np.testing.assert_array_equal(
      np.concatenate(o_gDNH),
      np.moveaxis(stacked["attention"]["o_NHD"][index], -1, 0),
    )
    np.testing.assert_array_equal(
      np.concatenate(down_gDF), stacked["ffn"]["down_FD"][index].T
    )
    np.testing.assert_array_equal(
      layer["attention"]["q_bias_NH"], stacked["attention"]["q_bias_NH"][index]
    )


@pytest.mark.parametrize("num_cores", [1, 2, 3])
def test_forward_is_the_same(monkeypatch, num_cores):
  monkeypatch.setattr(cpu_weights, "_num_cores", lambda: num_cores)
  params = draw_params(one_device())
  rng = np.random.default_rng(0)
  tokens_BT = rng.integers(0, CONFIG.vocab_size, (1, 2 + 8), np.int32)
  positions_BT = np.int32([[-1, 8, *range(8)]])
  pages_1QJ = np.int32([[[0, 0], [2, 1]]])
  ragged = Ragged(pages_1QJ, pages_1QJ[:, 1:])

  @jax.jit
  def run(params):
    cache = init_pages(CONFIG, num_pages=3, page_size=8, dtype="auto")
    hidden_BTD, cache = forward(
      params,
      CONFIG,
      tokens_BT,
      positions_BT,
      cache=cache,
      ragged=ragged,
      layout="decode",
    )
    return hidden_BTD[:, 1:], cache.kv_PSCH

  with jax.set_mesh(one_device()):
    want, got = run(params), run(cpu_weights.take_apart(params, CONFIG))
  for one, other in zip(want, got, strict=True):
    assert jnp.any(one != 0)
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_rollouts_are_the_same(monkeypatch):
  whole = by_row(generate(make_engine()))
  monkeypatch.setattr(cpu_weights, "_LARGE_BYTES", 0)
  engine = Engine(CONFIG, LetterTokenizer(), one_device(), options())
  assert_same(by_row(generate(engine)), whole)


def test_only_large_models_are_taken_apart():
  def is_large(name: str) -> bool:
    return cpu_weights.is_large(model_config(model_settings(name=name)))

  assert not is_large("debug") and is_large("qwen2.5-0.5b")
