"""Each loss against its formula, written as loops over sequences."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_settings import loss_settings

from kimina_jax.configs import common
from kimina_jax.learning import losses
from kimina_jax.learning.batch import Example, pack, stack_rows
from kimina_jax.learning.losses import UpdateTotals
from kimina_jax.types import UsageError

MAX_LEN = 16
NUM_SEQUENCES = 7  # more than there are: the others were dropped
TAU, LOW, HIGH = 0.4, 0.2, 0.28
NAMES = ("kimi", "reinforce", "grpo", "dr_grpo", "dapo", "gspo", "cispo")
RATIO_NAMES = NAMES[2:]


class Response(NamedTuple):
  """One sequence of the loops: per-token lists and an advantage."""

  logps: list[float]
  old: list[float]
  sampler: list[float]
  advantage: float


def _make(name: str, max_sampler_ratio: float = 0.0) -> losses.Loss:
  if name == "sft":
    return losses.sft
  settings = losses.LossSettings(
    name=name,
    tau=TAU,
    clip_low=LOW,
    clip_high=HIGH,
    max_sampler_ratio=max_sampler_ratio,
  )
  return losses.make_loss(settings, max_len=MAX_LEN)


def _responses() -> list[Response]:
  """Ratios on both sides of both bounds, advantages of both signs."""
  rng = np.random.default_rng(0)
  responses = []
  for length, advantage in ((5, 0.75), (3, -0.5), (9, -0.25), (4, 0.5)):
    old = -2 * rng.random(length)
    responses.append(
      Response(
        logps=(old + rng.normal(0, 0.4, length)).tolist(),
        old=old.tolist(),
        sampler=(old + rng.normal(0, 0.3, length)).tolist(),
        advantage=advantage,
      )
    )
  return responses


def _batches(responses, *, packed: bool):
  """The same responses: packed in one batch, or a row each in two."""
  examples = [
    Example(
      name=str(i),
      tokens=np.zeros(2 + len(response.old), np.int32),
      num_prompt=2,
      advantage=response.advantage,
      sampler_logps=np.array(response.sampler, np.float32),
    )
    for i, response in enumerate(responses)
  ]
  size = {"sequence_len": 64, "rows_per_batch": 2}
  if packed:
    batches = pack(examples, **size)
  else:
    rows = [[example] for example in examples]
    batches = [stack_rows(rows[:2], **size), stack_rows(rows[2:], **size)]
  logps = [_fill_in(batch, responses) for batch in batches]
  return batches, logps


def _fill_in(batch, responses) -> np.ndarray:
  """Sets old_logp_BT and gives logp_BT; finds sequences by their advantage.

  Prompt tokens get values too, which no loss may look at.
  """
  logp_BT = np.full(batch.tokens_BT.shape, -3.0, np.float32)
  for b, s in np.argwhere(batch.weight_BM):
    advantage = batch.advantage_BM[b, s]
    (response,) = (r for r in responses if r.advantage == advantage)
    at_T = (batch.segments_BT[b] == s + 1) & (batch.response_BT[b] == 1)
    logp_BT[b, at_T] = response.logps
    batch.old_logp_BT[b, at_T] = response.old
  return logp_BT


def _totals(batches) -> UpdateTotals:
  totals = UpdateTotals(float(NUM_SEQUENCES), 0.0, 0.0)
  for batch in batches:
    totals = losses.add_to_totals(totals, batch)
  return totals


def _clip(ratio: float) -> float:
  return min(max(ratio, 1 - LOW), 1 + HIGH)


def _by_hand(name: str, responses, max_sampler_ratio: float):
  """The loss, and its derivative by each log-probability, in plain Python."""
  n, L = NUM_SEQUENCES, MAX_LEN
  m = sum(len(response.logps) for response in responses)
  loss, slopes = 0.0, []
  for logps, old, sampler, A in responses:
    size = len(logps)
    deltas = [p - q for p, q in zip(logps, old, strict=True)]
    gaps = [q - s for q, s in zip(old, sampler, strict=True)]
    rho = sum(deltas)
    share = {
      "grpo": 1 / (n * size),
      "dr_grpo": 1 / (n * L),
      "dapo": 1 / m,
      "cispo": 1 / m,
    }
    if name == "kimi":
      loss += (-A * rho + TAU / 2 * rho * rho) / (n * L)
      slopes.append([-(A - TAU * rho) / (n * L)] * size)
    elif name == "reinforce":
      loss += -A * sum(logps) / (n * L)
      slopes.append([-A / (n * L)] * size)
    elif name == "sft":
      loss += -sum(logps) / m
      slopes.append([-1 / m] * size)
    elif name == "gspo":
      s = math.exp(rho / size)
      c = 1.0
      if max_sampler_ratio:
        c = min(math.exp(sum(gaps) / size), max_sampler_ratio)
      loss += -c * min(s * A, _clip(s) * A) / n
      free = s * A <= _clip(s) * A
      slopes.append([-c * s * A / size / n if free else 0.0] * size)
    else:
      slopes.append([])
      for logp, delta, gap in zip(logps, deltas, gaps, strict=True):
        r = math.exp(delta)
        c = share[name]
        if max_sampler_ratio:
          c *= min(math.exp(gap), max_sampler_ratio)
        if name == "cispo":
          loss += -c * _clip(r) * A * logp
          slopes[-1].append(-c * _clip(r) * A)
        else:
          loss += -c * min(r * A, _clip(r) * A)
          free = r * A <= _clip(r) * A
          slopes[-1].append(-c * r * A if free else 0.0)
  return loss, slopes


def _evaluate(name, responses, *, packed, max_sampler_ratio=0.0):
  """Loss, metrics and slopes per response of the package."""
  batches, logps = _batches(responses, packed=packed)
  loss, totals = _make(name, max_sampler_ratio), _totals(batches)
  value, metrics, slopes = 0.0, {}, {}
  for batch, logp_BT in zip(batches, logps, strict=True):
    (share, shares), slope_BT = jax.value_and_grad(loss, has_aux=True)(
      jnp.array(logp_BT), batch, totals
    )
    value += float(share)
    for key, part in shares.items():
      metrics[key] = metrics.get(key, 0.0) + float(part)
    assert not np.any(np.asarray(slope_BT)[batch.response_BT == 0])
    for b, s in np.argwhere(batch.weight_BM):
      at_T = (batch.segments_BT[b] == s + 1) & (batch.response_BT[b] == 1)
      slopes[float(batch.advantage_BM[b, s])] = np.asarray(slope_BT)[b, at_T]
  return value, metrics, [slopes[response.advantage] for response in responses]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", [*NAMES, "sft"])
def test_loss_and_gradient_by_hand(name, packed):
  responses = _responses()
  value, _, slopes = _evaluate(name, responses, packed=packed)
  expected, expected_slopes = _by_hand(name, responses, 0.0)
  np.testing.assert_allclose(value, expected, rtol=2e-6)
  for slope, expected_slope in zip(slopes, expected_slopes, strict=True):
    np.testing.assert_allclose(slope, expected_slope, rtol=5e-6)


@pytest.mark.parametrize("name", RATIO_NAMES)
def test_truncated_importance_sampling_by_hand(name):
  responses = _responses()
  value, _, slopes = _evaluate(
    name, responses, packed=True, max_sampler_ratio=1.1
  )
  expected, expected_slopes = _by_hand(name, responses, 1.1)
  np.testing.assert_allclose(value, expected, rtol=2e-6)
  for slope, expected_slope in zip(slopes, expected_slopes, strict=True):
    np.testing.assert_allclose(slope, expected_slope, rtol=5e-6)
  assert abs(expected - _by_hand(name, responses, 0.0)[0]) > 1e-4


@pytest.mark.parametrize("packed", [True, False])
def test_metrics_by_hand(packed):
  responses = _responses()
  _, metrics, _ = _evaluate("kimi", responses, packed=packed)
  rhos = [sum(r.logps) - sum(r.old) for r in responses]
  pairs = [pair for r in responses for pair in zip(r.logps, r.old, strict=True)]
  gaps = [np.abs(np.subtract(r.old, r.sampler)) for r in responses]
  flips = [
    (r.advantage - TAU * rho) * r.advantage < 0
    for r, rho in zip(responses, rhos, strict=True)
  ]
  expected = {
    "rho_mean": np.mean(rhos),
    "rho_abs": np.mean(np.abs(rhos)),
    "kl_old": np.mean([math.exp(p - q) - 1 - (p - q) for p, q in pairs]),
    "sampler_gap": np.mean(np.concatenate(gaps)),
    "sign_flips": np.mean(flips),
  }
  assert metrics.keys() == expected.keys()
  for key in expected:
    np.testing.assert_allclose(metrics[key], expected[key], rtol=1e-5)


def test_clip_fraction_by_hand():
  responses = _responses()
  hits = [
    _clip(math.exp(p - q)) * r.advantage < math.exp(p - q) * r.advantage
    for r in responses
    for p, q in zip(r.logps, r.old, strict=True)
  ]
  assert 0 < sum(hits) < len(hits)
  for name in ("grpo", "dr_grpo", "dapo"):
    _, metrics, _ = _evaluate(name, responses, packed=True)
    np.testing.assert_allclose(
      metrics["clip_fraction"], np.mean(hits), rtol=1e-6
    )


@pytest.mark.parametrize("tau", [0.0, 0.4, 10.0])
def test_kimi_at_the_anchor_is_reinforce(tau):
  """Where ρ = 0 the quadratic term has no slope, whatever τ is."""
  responses = [r._replace(logps=r.old) for r in _responses()]
  batches, (logp_BT,) = _batches(responses, packed=True)
  args = (jnp.array(logp_BT), batches[0], _totals(batches))
  kimi = losses.make_loss(loss_settings(tau=tau), max_len=MAX_LEN)
  kimi = jax.grad(kimi, has_aux=True)
  reinforce = jax.grad(_make("reinforce"), has_aux=True)
  np.testing.assert_allclose(kimi(*args)[0], reinforce(*args)[0], rtol=1e-6)
  assert np.any(kimi(*args)[0])


def _one_response_batch(tokens, advantage, old_logps):
  """A batch with one response of these tokens after one prompt token."""
  size = len(tokens)
  example = Example(
    "x",
    np.concatenate([[0], tokens]).astype(np.int32),
    1,
    advantage,
    np.zeros(size, np.float32),
  )
  (batch,) = pack([example], sequence_len=32, rows_per_batch=1)
  batch.old_logp_BT[0, 1 : size + 1] = old_logps
  return batch


def test_kimi_descends_along_a_minus_tau_rho_times_the_score():
  """Autodiff through a tabular softmax policy, ∇ log π built by hand."""
  rng = np.random.default_rng(3)
  tokens, A = np.array([2, 0, 3, 1]), -0.7
  theta_TV = rng.normal(size=(32, 5)).astype(np.float32)
  old = -rng.random(4)
  batch = _one_response_batch(tokens, A, old)
  kimi = losses.make_loss(loss_settings(tau=TAU), max_len=1)

  def policy_loss(theta_TV: jax.Array) -> jax.Array:
    every_TV = jax.nn.log_softmax(theta_TV)
    logp_T = jnp.take_along_axis(every_TV, batch.tokens_BT.T, axis=1)[:, 0]
    totals = UpdateTotals(1.0, 1.0, 4.0)
    return kimi(logp_T[None], batch, totals)[0]

  p_TV = np.exp(theta_TV) / np.exp(theta_TV).sum(1, keepdims=True)
  score_TV = np.zeros((32, 5))
  rho = 0.0
  for t, token in enumerate(tokens, start=1):
    score_TV[t] = np.eye(5)[token] - p_TV[t]
    rho += math.log(p_TV[t, token]) - old[t - 1]
  np.testing.assert_allclose(
    -jax.grad(policy_loss)(jnp.array(theta_TV)),
    (A - TAU * rho) * score_TV,
    atol=2e-6,
  )


def test_bandit_converges_to_advantage_over_tau():
  """With the baseline τ log mean exp(r/τ), ρ = A/τ is a distribution."""
  r_R = np.array([1.0, 0.0, 0.0, 1.0, 0.5, 0.0])
  A_R = r_R - TAU * math.log(np.mean(np.exp(r_R / TAU)))
  old = -math.log(len(r_R))
  examples = [
    Example(str(a), np.array([0, a]), 1, A, np.zeros(1, np.float32))
    for a, A in enumerate(A_R)
  ]
  (batch,) = pack(examples, sequence_len=192, rows_per_batch=1)
  batch.old_logp_BT[:] = old
  kimi = losses.make_loss(loss_settings(tau=TAU), max_len=1)

  def bandit_loss(theta_V: jax.Array) -> jax.Array:
    logp_BT = jax.nn.log_softmax(theta_V)[batch.tokens_BT]
    totals = UpdateTotals(float(len(r_R)), 0.0, 0.0)
    return kimi(logp_BT, batch, totals)[0]

  step = jax.jit(lambda theta_V: theta_V - 3 * jax.grad(bandit_loss)(theta_V))
  theta_V = jnp.zeros(len(r_R))
  for _ in range(300):
    theta_V = step(theta_V)
  rho_R = jax.nn.log_softmax(theta_V) - old
  np.testing.assert_allclose(rho_R, A_R / TAU, atol=1e-4)


@pytest.mark.parametrize("name", [*NAMES, "sft"])
def test_an_empty_batch_is_zero(name):
  (batch,) = pack([], sequence_len=64, rows_per_batch=2)
  (value, metrics), slope_BT = jax.value_and_grad(_make(name), has_aux=True)(
    jnp.zeros((2, 64)), batch, UpdateTotals(8.0, 0.0, 0.0)
  )
  assert value == 0
  assert not np.any(slope_BT)
  assert all(metric == 0 for metric in metrics.values())


def test_the_configuration_names_every_loss():
  config = common.get_config()
  for name in NAMES:
    with config.unlocked():
      config.loss.name = name
    settings = losses.LossSettings(**config.loss)
    assert callable(losses.make_loss(settings, max_len=MAX_LEN))
  assert set(NAMES) == set(losses.LOSSES)


@pytest.mark.parametrize(
  "change, words",
  [
    ({"name": "ppo"}, "'ppo'; choose one of kimi"),
    ({"tau": -0.1}, "loss.tau = -0.1"),
    ({"clip_high": math.nan}, "loss.clip_high = nan"),
    ({"max_sampler_ratio": 2.0}, "max_sampler_ratio = 2.0: kimi"),
  ],
)
def test_a_switch_that_is_not_there_is_refused(change, words):
  section = {**common.get_config().loss, **change}
  with pytest.raises(UsageError, match=words):
    losses.LossSettings(**section)
