"""Log-probabilities and entropy of tokens under the model.

In: parameters and packed tokens. Out: two [B, T] arrays in float32.
Never holds logits of more than one chunk of each row: neither forward nor
backward makes a [B, T, V] array, which would dwarf the rest of the step.
"""

from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.model.config import ModelConfig
from kimina_jax.model.transformer import forward, unembed


def token_logprobs(
  params: dict[str, Any],
  config: ModelConfig,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segments_BT: jax.Array,
  *,
  chunk: int,
) -> tuple[jax.Array, jax.Array]:
  """log π(y_t) of every token, and the entropy it was chosen with.

  Args:
    params: as the model makes them, in the train layout.
    config: static under jit.
    tokens_BT: int32.
    positions_BT: int32, 0 at the first token of a segment.
    segments_BT: int32, 0 at padding.
    chunk: positions per row whose logits exist at a time; static.

  Returns:
    logp_BT: nats, at the token predicted; 0 at the first token of a segment,
      which nothing predicts, and at padding.
    entropy_BT: nats, of the distribution that the token was predicted by;
      0 likewise. No gradient flows through it.
  """
  hidden_BTD, _ = forward(
    params, config, tokens_BT, positions_BT, segments_BT=segments_BT
  )
  # What stands at t predicts the token at t + 1.
  next_BT = jnp.roll(tokens_BT, -1, axis=1)
  scores = _chunked_scores(params, config, hidden_BTD, next_BT, chunk)
  predicted_BT = (positions_BT > 0) & (segments_BT > 0)
  logp_BT, entropy_BT = (
    jnp.where(predicted_BT, jnp.roll(score_BT, 1, axis=1), 0)
    for score_BT in scores
  )
  return logp_BT, jax.lax.stop_gradient(entropy_BT)


def _chunked_scores(
  params: dict[str, Any],
  config: ModelConfig,
  hidden_BTD: jax.Array,
  target_BT: jax.Array,
  chunk: int,
) -> tuple[jax.Array, jax.Array]:
  """log p(target) and entropy at each position, a chunk at a time.

  Under jax.checkpoint backward computes the logits of a chunk again; C is the
  chunk.
  """

  @jax.checkpoint
  def score(
    x_BCD: jax.Array, target_BC: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    return _scores(unembed(params, config, x_BCD), target_BC)

  B, T = target_BT.shape
  pad = -T % chunk

  def split(x_BT: jax.Array) -> jax.Array:
    widths = [(0, 0), (0, pad)] + [(0, 0)] * (x_BT.ndim - 2)
    x_BT = jnp.pad(x_BT, widths)
    return x_BT.reshape(B, -1, chunk, *x_BT.shape[2:]).swapaxes(0, 1)

  _, scores = jax.lax.scan(
    lambda _, xs: (None, score(*xs)),
    None,
    (split(hidden_BTD), split(target_BT)),
  )
  return jax.tree.map(
    lambda x: x.swapaxes(0, 1).reshape(B, T + pad)[:, :T], scores
  )


def _scores(
  logits_BCV: jax.Array, target_BC: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """With z the log of the partition function: logit − z, and z − E[logit]."""
  z_BC = jax.nn.logsumexp(logits_BCV, axis=-1)
  # A comparison instead of a gather: it stays where its part of V lives.
  vocab_V = jnp.arange(logits_BCV.shape[-1])
  hit_BCV = vocab_V[None, None] == target_BC[..., None]
  logit_BC = jnp.sum(jnp.where(hit_BCV, logits_BCV, 0), axis=-1)
  p_BCV = jnp.exp(logits_BCV - z_BC[..., None])
  return logit_BC - z_BC, z_BC - jnp.sum(p_BCV * logits_BCV, axis=-1)
