"""AdamW against a NumPy loop; the shape of the schedule."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_settings import optimizer_settings

from kimina_jax.configs import common
from kimina_jax.learning.optimizer import (
  OptimizerSettings,
  make_optimizer,
  warmup_cosine,
)


def _params():
  rng = np.random.default_rng(0)
  return {
    "attention": {
      "q_DNH": rng.normal(size=(4, 2, 3)).astype(np.float32),
      "q_bias_NH": rng.normal(size=(2, 3)).astype(np.float32),
    },
    "norm": {"scale_D": rng.normal(size=4).astype(np.float32)},
  }


def _adamw(params, gradients, *, b1, b2, eps, decay, clip):
  """The directions after each gradient, leaf by leaf in float64."""
  flat, tree = jax.tree.flatten(params)
  undecayed = [False, True, True]  # q_DNH, q_bias_NH, scale_D
  m, v = [0.0] * 3, [0.0] * 3
  for t, gradient in enumerate(gradients, start=1):
    leaves = [np.float64(leaf) for leaf in jax.tree.leaves(gradient)]
    norm = math.sqrt(sum((leaf**2).sum() for leaf in leaves))
    scale = min(1.0, clip / norm) if clip else 1.0
    directions = []
    for i, leaf in enumerate(leaves):
      m[i] = b1 * m[i] + (1 - b1) * leaf * scale
      v[i] = b2 * v[i] + (1 - b2) * (leaf * scale) ** 2
      step = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
      directions.append(step + (0.0 if undecayed[i] else decay) * flat[i])
  return tree.unflatten(directions)


@pytest.mark.parametrize("clip", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_directions_by_hand(clip, decay):
  params = _params()
  rng = np.random.default_rng(1)
  gradients = [
    jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
    for _ in range(3)
  ]
  settings = optimizer_settings(eps=1e-3, weight_decay=decay, clip_norm=clip)
  optimizer = make_optimizer(settings)
  state = optimizer.transform.init(params)
  for gradient in gradients:
    found, state = optimizer.transform.update(gradient, state, params)
  expected = _adamw(
    params, gradients, b1=0.9, b2=0.95, eps=1e-3, decay=decay, clip=clip
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
    found,
    expected,
  )


def test_the_configuration_is_the_arguments():
  settings = OptimizerSettings(**common.get_config().optimizer)
  optimizer = make_optimizer(settings)
  assert optimizer.reset
  np.testing.assert_allclose(optimizer.learning_rate(jnp.int32(9)), 2e-6)


def test_cosine_by_hand():
  schedule = warmup_cosine(2.0, 100, warmup_fraction=0.1)
  rates = [float(schedule(jnp.int32(step))) for step in range(100)]
  np.testing.assert_allclose(rates[0], 2.0 / 11, rtol=1e-6)
  np.testing.assert_allclose(rates[9], 2.0 * 10 / 11, rtol=1e-6)
  np.testing.assert_allclose(rates[10], 2.0, rtol=1e-6)
  np.testing.assert_allclose(rates[55], 1.0, rtol=1e-5)
  assert 0 < rates[99] < 0.001
  assert rates[:11] == sorted(rates[:11])
  assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
  "peak, num_updates, warmup_fraction",
  [(2e-5, 1875, 0.03), (1e-3, 400, 0.1), (3e-4, 5, 0.0)],
)
def test_the_schedule_is_this_formula_bit_for_bit(
  peak, num_updates, warmup_fraction
):
  """As runs recorded it; Optax's own differs from it by rounding alone."""
  warmup = int(warmup_fraction * num_updates)
  updates = jnp.arange(num_updates)

  def formula(update):
    rise = (update + 1) / (warmup + 1)
    done = (update - warmup) / max(1, num_updates - warmup)
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
    return peak * jnp.where(update < warmup, rise, fall)

  schedule = warmup_cosine(peak, num_updates, warmup_fraction=warmup_fraction)
  found = jax.jit(jax.vmap(schedule))(updates)
  np.testing.assert_array_equal(found, jax.jit(jax.vmap(formula))(updates))
  theirs = optax.join_schedules(
    [
      optax.linear_schedule(peak / (warmup + 1), peak, warmup),
      optax.cosine_decay_schedule(peak, num_updates - warmup),
    ],
    [warmup],
  )
  np.testing.assert_allclose(found, jax.vmap(theirs)(updates), rtol=1e-3)


def test_cosine_without_warmup_starts_at_the_peak():
  schedule = warmup_cosine(3e-4, 5, warmup_fraction=0.0)
  np.testing.assert_allclose(schedule(jnp.int32(0)), 3e-4, rtol=1e-6)
  np.testing.assert_allclose(schedule(jnp.int32(5)), 0, atol=1e-10)
