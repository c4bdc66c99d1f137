"""Attention against loops over rows, queries, heads and keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kimina_jax.model.attention import Cached, Packed, attend


@pytest.mark.parametrize("num_heads", [(6, 2), (3, 3)])
def test_packed_equals_loops(num_heads):
  segments = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 3, 3]])
  q, k, v = _draw(2, 6, 6, *num_heads)
  got = jax.jit(attend)(q, k, v, mask=Packed(jnp.array(segments)))

  def sees(b, t, s):
    return s <= t and segments[b, t] == segments[b, s]

  np.testing.assert_allclose(got, _loops(q, k, v, sees), atol=1e-5)


@pytest.mark.parametrize("num_heads", [(6, 2), (3, 3)])
def test_cached_equals_loops(num_heads):
  positions = np.array([[0, 3], [5, 6]])
  q, k, v = _draw(2, 2, 9, *num_heads)
  got = jax.jit(attend)(q, k, v, mask=Cached(jnp.array(positions)))

  def sees(b, t, s):
    return s <= positions[b, t]

  np.testing.assert_allclose(got, _loops(q, k, v, sees), atol=1e-5)


def test_large_scores_do_not_overflow_in_bfloat16():
  q, k, v = (x.astype(jnp.bfloat16) * 100 for x in _draw(1, 4, 4, 2, 1))
  got = attend(q, k, v, mask=Packed(jnp.ones((1, 4), jnp.int32)))
  assert got.dtype == jnp.bfloat16
  assert np.isfinite(np.asarray(got, np.float32)).all()


def _draw(B, T, S, N, K, H=8):
  keys = jax.random.split(jax.random.key(N), 3)
  shapes = ((B, T, N, H), (B, S, K, H), (B, S, K, H))
  return [
    jax.random.normal(key, shape)
    for key, shape in zip(keys, shapes, strict=True)
  ]


def _loops(q, k, v, sees) -> np.ndarray:
  """Textbook attention in float64, one query and head at a time."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  B, T, N, H = q.shape
  group = N // k.shape[2]
  out = np.zeros_like(q)
  for b, t, n in np.ndindex(B, T, N):
    keys = [s for s in range(k.shape[1]) if sees(b, t, s)]
    scores = [q[b, t, n] @ k[b, s, n // group] / np.sqrt(H) for s in keys]
    weights = np.exp(scores) / np.exp(scores).sum()
    for weight, s in zip(weights, keys, strict=True):
      out[b, t, n] += weight * v[b, s, n // group]
  return out
