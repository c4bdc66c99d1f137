"""Draws the next token of each slot: temperature, top-k, top-p and min-p.

In: one key and one row of logits per slot. Out: a token per slot with its
log-probability, under the distribution it was drawn from and under the model.
It never sorts the vocabulary and never gathers a sharded one, and the draw of
one slot does not depend on the other slots.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draw(NamedTuple):
  """Tokens drawn for B slots, and their log-probabilities.

  Attributes:
    tokens: int32 [B].
    logps: float32 [B], under the distribution drawn from.
    model_logps: float32 [B], under the model.
  """

  tokens: jax.Array
  logps: jax.Array
  model_logps: jax.Array


def sample(
  keys_B: jax.Array,
  logits_BV: jax.Array,
  *,
  temperature: float,
  top_p: float = 1.0,
  top_k: int = 0,
  min_p: float = 0.0,
) -> Draw:
  """Draws from softmax(logits / temperature), restricted by three filters.

  They apply in the order top_k, top_p, min_p, each to the renormalised
  distribution that the one before it left. All four numbers are static.

  Args:
    keys_B: typed keys [B], one per slot.
    logits_BV: float32 [B, V], as the model gives them.
    temperature: 0 takes the most likely token, with log-probability 0.
    top_p: mass of the nucleus, see `keep_top_p`; 1 keeps every token.
    top_k: how many tokens to keep, see `keep_top_k`; 0 keeps every token.
    min_p: least probability relative to the largest, see `keep_min_p`; 0
      keeps every token.

  Returns:
    tokens and both log-probabilities in nats. Where a row holds a NaN, an
    arbitrary token, and NaN under the model.
  """
  max_B1 = jnp.max(logits_BV, axis=-1, keepdims=True)
  if temperature == 0:
    # A NaN equals nothing: then no token is the first, and the last is taken.
    last = logits_BV.shape[-1] - 1
    tokens_B = jnp.minimum(_first(logits_BV == max_B1), last)
    zeros_B = jnp.zeros(tokens_B.shape)
    ahead_B = _at(logits_BV, tokens_B) - max_B1[:, 0]
    return Draw(tokens_B, zeros_B, ahead_B - _log_total(logits_BV, max_B1))
  cut_BV = logits_BV / temperature
  if 0 < top_k < logits_BV.shape[-1]:
    cut_BV = keep_top_k(cut_BV, top_k)
  if top_p < 1:
    cut_BV = keep_top_p(cut_BV, top_p)
  if min_p > 0:
    cut_BV = keep_min_p(cut_BV, min_p)
  # Every filter keeps the most likely token, so the largest logit stays.
  tokens_B, log_total_B = _draw(keys_B, cut_BV, max_B1 / temperature)
  ahead_B = _at(logits_BV, tokens_B) - max_B1[:, 0]
  logps_B = ahead_B / temperature - log_total_B
  if (temperature, top_p, top_k, min_p) == (1, 1, 0, 0):
    return Draw(tokens_B, logps_B, logps_B)
  model_logps_B = ahead_B - _log_total(logits_BV, max_B1)
  return Draw(tokens_B, logps_B, model_logps_B)


def keep_top_k(logits_BV: jax.Array, top_k: int) -> jax.Array:
  """The logits with -inf below the k-th largest; ties with it stay.

  The k-th largest is the largest c with at least k logits >= c. Its bits are
  found from the highest to the lowest, by counts that stay where a sharded
  vocabulary lies.

  Args:
    logits_BV: float32 [B, V].
    top_k: from 1 to V.
  """
  ordered_BV = _ordered(jax.lax.bitcast_convert_type(logits_BV, jnp.int32))
  lowest = jnp.int32(-(2**31))

  def settle_bit(i, cutoff_B):
    # Adding the top bit to the lowest number wraps around to 0, as it should.
    higher_B = cutoff_B + jnp.left_shift(jnp.int32(1), 31 - i)
    count_B = jnp.sum(ordered_BV >= higher_B[:, None], axis=-1, dtype=jnp.int32)
    return jnp.where(count_B >= top_k, higher_B, cutoff_B)

  start_B = jnp.full_like(ordered_BV[:, 0], lowest)
  cutoff_B = jax.lax.fori_loop(0, 32, settle_bit, start_B)
  # Compared as floats, so that 0 ties with -0.
  cutoff_B = jax.lax.bitcast_convert_type(_ordered(cutoff_B), jnp.float32)
  return jnp.where(logits_BV >= cutoff_B[:, None], logits_BV, -jnp.inf)


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


def keep_min_p(logits_BV: jax.Array, min_p: float) -> jax.Array:
  """The logits with -inf where p_v < min_p * max p.

  That is where a logit is below the largest plus log(min_p) (Nguyen et al.
  2024, arXiv 2407.01082).

  Args:
    logits_BV: float32 [B, V].
    min_p: in (0, 1].
  """
  # Of these very logits: 1 must keep the largest, whatever was rounded.
  max_B1 = jnp.max(logits_BV, axis=-1, keepdims=True)
  cutoff_B1 = max_B1 + math.log(min_p)
  return jnp.where(logits_BV >= cutoff_B1, logits_BV, -jnp.inf)


def _ordered(bits: jax.Array) -> jax.Array:
  """Floats' bits as integers in the floats' order, and back again."""
  return jnp.where(bits < 0, bits ^ jnp.int32(2**31 - 1), bits)


def _draw(
  keys_B: jax.Array, logits_BV: jax.Array, max_B1: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Tokens [B] from softmax(logits), and log sum exp(logits - max) [B].

  Inverts the distribution function in two stages, first over the blocks of
  the vocabulary and then over the tokens of the block drawn. Each stage has a
  uniform number of its own: 24 bits resolve the blocks to 2^-24 of the whole
  mass and the tokens to 2^-24 of their block's mass, however small that is.
  One number for both would leave few bits to the tokens of a small block.
  """
  u_B2 = _uniforms(keys_B)
  logits_BWV = _blocks(logits_BV)
  sums_BW = _block_sums(logits_BWV, max_B1)
  block_B = _inverse_cdf(sums_BW, u_B2[:, 0])
  block_BV = jnp.take_along_axis(
    logits_BWV, block_B[:, None, None], axis=1, mode="clip"
  )[:, 0]
  # Relative to the block's own largest, which so has mass 1: no block that
  # was drawn can turn out empty, not even by underflow.
  largest_B1 = jnp.max(block_BV, axis=-1, keepdims=True)
  inside_B = _inverse_cdf(jnp.exp(block_BV - largest_B1), u_B2[:, 1])
  tokens_B = block_B * logits_BWV.shape[-1] + inside_B
  return tokens_B, jnp.log(jnp.sum(sums_BW, axis=-1))


def _uniforms(keys_B: jax.Array) -> jax.Array:
  """float32 [B, 2] in [0, 1), multiples of 2^-24."""
  bits_B2 = jax.vmap(lambda key: jax.random.bits(key, (2,), "uint32"))(keys_B)
  return (bits_B2 >> 8).astype(jnp.float32) * 2.0**-24


def _inverse_cdf(mass_BV: jax.Array, u_B: jax.Array) -> jax.Array:
  """The first index whose cumulative mass exceeds u * total.

  V counts tokens, or blocks of them. Never an index of mass 0, if any has more:
  rounded cumulative sums may rise where nothing is added, and u * total may be
  rounded up to the total. So only positive masses count, and the last of them
  is drawn where none is first.
  A row of NaN gives 0.
  """
  positive_BV = mass_BV > 0
  goal_B = u_B * jnp.sum(mass_BV, axis=-1)
  beyond_BV = jnp.cumsum(mass_BV, axis=-1) > goal_B[:, None]
  first_B = _first(positive_BV & beyond_BV)
  size = mass_BV.shape[-1]
  ids_1V = jnp.arange(size, dtype=jnp.int32)[None]
  last_B = jnp.max(jnp.where(positive_BV, ids_1V, 0), axis=-1)
  return jnp.where(first_B < size, first_B, last_B)


def _first(mask_BV: jax.Array) -> jax.Array:
  """The first true index of each row, or the row's length.

  As a plain reduction: argmax is one over pairs, which CPUs do not vectorise.
  """
  size = mask_BV.shape[-1]
  ids_1V = jnp.arange(size, dtype=jnp.int32)[None]
  return jnp.min(jnp.where(mask_BV, ids_1V, size), axis=-1)


def _at(logits_BV: jax.Array, tokens_B: jax.Array) -> jax.Array:
  return jnp.take_along_axis(logits_BV, tokens_B[:, None], axis=-1)[:, 0]


def _log_total(logits_BV: jax.Array, max_B1: jax.Array) -> jax.Array:
  """log sum exp(logits - max), summed by blocks: fewer roundings in a row."""
  sums_BW = _block_sums(_blocks(logits_BV), max_B1)
  return jnp.log(jnp.sum(sums_BW, axis=-1))


def _block_sums(logits_BWV: jax.Array, max_B1: jax.Array) -> jax.Array:
  return jnp.sum(jnp.exp(logits_BWV - max_B1[:, :, None]), axis=-1)


def _blocks(logits_BV: jax.Array) -> jax.Array:
  """The vocabulary as about sqrt(V) blocks, the last ones filled with -inf.

  A power of two that divides V where there is one of a good size, because an
  axis over which V is sharded divides it too: then no block lies on two
  shards, the sums stay local, and nothing is filled up.
  """
  num_rows, vocab_size = logits_BV.shape
  num_blocks = 2 ** math.ceil(math.log2(vocab_size) / 2)
  divisor = math.gcd(vocab_size, num_blocks)
  if 4 * divisor >= num_blocks:
    num_blocks = divisor
  missing = -vocab_size % num_blocks
  logits_BV = jnp.pad(
    logits_BV, ((0, 0), (0, missing)), constant_values=-jnp.inf
  )
  return logits_BV.reshape(num_rows, num_blocks, -1)
