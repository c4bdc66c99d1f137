"""Sizes of the cache, and a prefill copied to slots against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kimina_jax.model.transformer import KVCache
from kimina_jax.rollouts import cache as caches


@pytest.mark.parametrize(
  "length, limit, expected",
  [(1, 512, 64), (64, 512, 64), (65, 512, 128), (400, 384, 384), (9, 32, 32)],
)
def test_bucket(length, limit, expected):
  assert caches.bucket(length, limit) == expected


def test_cache_len_holds_both_parts():
  assert caches.cache_len(128, 256) == 384
  assert caches.cache_len(100, 29) == 192


def test_share_copies_to_the_front_of_chosen_slots():
  rng = np.random.default_rng(0)
  source_B = np.array([2, -1, 0, 2, -1], np.int32)
  old = KVCache(*rng.standard_normal((2, 3, 5, 8, 2, 4), np.float32))
  new = KVCache(*rng.standard_normal((2, 3, 3, 6, 2, 4), np.float32))
  shared = caches.share(*jax.tree.map(jnp.asarray, (old, new, source_B)))
  for got, before, fresh in zip(shared, old, new, strict=True):
    expected = before.copy()
    for slot, prompt in enumerate(source_B):
      if prompt >= 0:
        expected[:, slot, :6] = fresh[:, prompt]
    np.testing.assert_array_equal(got, expected)


def test_share_is_in_place_when_donated():
  zeros = KVCache(jnp.zeros((2, 4, 64, 2, 4)), jnp.zeros((2, 4, 64, 2, 4)))
  ones = KVCache(jnp.ones((2, 2, 8, 2, 4)), jnp.ones((2, 2, 8, 2, 4)))
  before = [x.unsafe_buffer_pointer() for x in zeros]
  shared = jax.jit(caches.share, donate_argnums=0)(
    zeros, ones, jnp.array([0, -1, 1, 0])
  )
  assert [x.unsafe_buffer_pointer() for x in shared] == before
