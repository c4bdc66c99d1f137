"""Draws the next token of each slot.

In: one key and one row of logits per slot. Out: a token per slot with its
log-probability, under the distribution it was drawn from and under the model.
Never sorts the vocabulary and never lets one slot's draw depend on another's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draw(NamedTuple):
  """Tokens of B slots: int32 [B], float32 [B], float32 [B]."""

  tokens_B: jax.Array
  logps_B: jax.Array
  model_logps_B: jax.Array


def sample(
  keys_B: jax.Array,
  logits_BV: jax.Array,
  *,
  temperature: float,
  top_p: float,
) -> Draw:
  """Draws from softmax(logits / temperature) cut to its nucleus.

  Args:
    keys_B: typed keys [B], one per slot.
    logits_BV: float32 [B, V], as the model gives them.
    temperature: 0 takes the most likely token, with log-probability 0.
    top_p: mass of the nucleus, see `keep_top_p`; 1 keeps every token.

  Returns:
    tokens and both log-probabilities in nats.
  """
  if temperature == 0:
    tokens_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    return Draw(
      tokens_B, jnp.zeros(tokens_B.shape), _log_prob(logits_BV, tokens_B)
    )
  cut_BV = logits_BV / temperature
  if top_p < 1:
    cut_BV = keep_top_p(cut_BV, top_p)
  tokens_B = _race(keys_B, cut_BV)
  model_logps_B = _log_prob(logits_BV, tokens_B)
  if temperature == 1 and top_p == 1:
    return Draw(tokens_B, model_logps_B, model_logps_B)
  return Draw(tokens_B, _log_prob(cut_BV, tokens_B), model_logps_B)


def keep_top_p(logits_BV: jax.Array, top_p: float) -> jax.Array:
  """The logits with -inf outside the nucleus.

  The nucleus is {v: p_v >= c} for the largest c at which it holds `top_p` of
  the mass: the fewest most likely tokens, and with the last one those that
  are exactly as likely (Holtzman et al. 2020, arXiv 1904.09751, eq. 2).

  Positive floats are ordered as their bit patterns, so bisection over the 31
  bits finds c exactly, in sums that stay where a sharded vocabulary lies.

  Args:
    logits_BV: float32 [B, V].
    top_p: in (0, 1].
  """
  p_BV = jax.nn.softmax(logits_BV, axis=-1)
  bits_BV = jax.lax.bitcast_convert_type(p_BV, jnp.int32)

  def halve(_, bounds):
    low_B, high_B = bounds
    middle_B = high_B - (high_B - low_B) // 2
    inside_BV = bits_BV >= middle_B[:, None]
    enough_B = jnp.sum(p_BV, axis=-1, where=inside_BV) >= top_p
    return (
      jnp.where(enough_B, middle_B, low_B),
      jnp.where(enough_B, high_B, middle_B - 1),
    )

  low_B = jnp.zeros_like(bits_BV[:, 0])
  cutoff_B, _ = jax.lax.fori_loop(
    0, 31, halve, (low_B, jnp.max(bits_BV, axis=-1))
  )
  return jnp.where(bits_BV >= cutoff_B[:, None], logits_BV, -jnp.inf)


def _race(keys_B: jax.Array, logits_BV: jax.Array) -> jax.Array:
  """Draws from softmax(logits) as the winner of an exponential race.

  With E_v ~ Exp(1), argmax_v p_v / E_v is v with probability p_v: the Gumbel
  trick with one logarithm in place of two.
  """
  vocab_size = logits_BV.shape[-1]
  bits_BV = jax.vmap(lambda key: jax.random.bits(key, (vocab_size,), "uint32"))(
    keys_B
  )
  # All 32 bits and log1p: E is fine near 0, where rare tokens win. Below 1,
  # for E must stay finite lest no token win.
  u_BV = (bits_BV.astype(jnp.float32) + 0.5) * 2.0**-32
  race_BV = -jnp.log1p(-jnp.minimum(u_BV, 1 - 2.0**-24))
  p_BV = jnp.exp(logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True))
  speed_BV = p_BV / race_BV
  # The first of the fastest, as two plain reductions: argmax would be one
  # over pairs, which CPUs do not vectorise.
  best_B1 = jnp.max(speed_BV, axis=-1, keepdims=True)
  ids_1V = jnp.arange(vocab_size, dtype=jnp.int32)[None]
  return jnp.min(jnp.where(speed_BV == best_B1, ids_1V, vocab_size), axis=-1)


def _log_prob(logits_BV: jax.Array, tokens_B: jax.Array) -> jax.Array:
  """log softmax(logits) at the tokens, without the array of all of them."""
  chosen_B = jnp.take_along_axis(logits_BV, tokens_B[:, None], axis=-1)[:, 0]
  return chosen_B - jax.nn.logsumexp(logits_BV, axis=-1)
