"""Log-probabilities and entropy of tokens under the model, without logits.

In: parameters and packed tokens. Out: two [B, T] arrays in float32. Neither
forward nor backward makes a [B, T, V] array, which would be far larger than
everything else in an update: logits exist for one block of the vocabulary at a
time.

Blocks are cut from the vocabulary, not from the tokens. Every device works on
its own tokens in every block, whichever axes they are split over. Each block
of the unembedding table is gathered over `fsdp` once in forward and once in
backward, and its gradient is complete, and reduced to its shards, as soon as
the block is done: at no time is the table, or its float32 gradient, whole on
a device (152,064 × 8,192 would be 2.3 and 4.6 GiB). Blocks of tokens would
move as many bytes only with both of them resident.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.transformer import forward

# Largest number of logits on a device at a time: 128 MiB in float32.
_MAX_LOGITS = 2**25

# Vocabulary entries of a block: a multiple of a vector register's lanes, and no
# more than what already keeps a matrix unit busy.
_LANES = 128
_MAX_BLOCK = 4096

# Logit of the padding of the last block.
_NEGATIVE = jnp.finfo(jnp.float32).min


def token_logprobs(
  params: dict[str, Any],
  config: ModelConfig,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segments_BT: jax.Array,
  *,
  vocab_block_size: int | None = None,
) -> tuple[jax.Array, jax.Array]:
  """log π(y_t) of every token, and entropy of its predictive distribution.

  Call it under jit, with a mesh set.

  Args:
    params: of the model, in the train layout.
    config: of the model, static under jit.
    tokens_BT: int32.
    positions_BT: int32, 0 at the first token of a segment.
    segments_BT: int32, 0 at padding.
    vocab_block_size: vocabulary entries of a block, static; None chooses the
      largest for which a device's logits stay below a fixed size.

  Returns:
    logp_BT: nats, at the predicted token's position; 0 at padding and at the
      first token of a segment, which is not predicted.
    entropy_BT: nats, entropy of the distribution that predicts the token;
      0 at the same positions. No gradient flows through it.
  """
  hidden_BTD, _ = forward(
    params, config, tokens_BT, positions_BT, segments_BT=segments_BT
  )
  # The hidden vector at t predicts the token at t + 1.
  next_BT = jnp.roll(tokens_BT, -1, axis=1)
  table_VD = params["embed" if config.tied else "unembed"]["table_VD"]
  with jax.named_scope("unembed"):
    scores = _scores(vocab_block_size, table_VD, hidden_BTD, next_BT)
  predicted_BT = (positions_BT > 0) & (segments_BT > 0)
  logp_BT, entropy_BT = (
    jnp.where(predicted_BT, jnp.roll(score_BT, 1, axis=1), 0)
    for score_BT in scores
  )
  return logp_BT, jax.lax.stop_gradient(entropy_BT)


# Table, hidden vectors, targets and z, as _local_gradients takes them.
_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scores(
  vocab_block_size: int | None,
  table_VD: jax.Array,
  x_BTD: jax.Array,
  target_BT: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """log p(target), and entropy without a gradient, at each position."""
  return _scores_forward(vocab_block_size, table_VD, x_BTD, target_BT)[0]


def _scores_forward(
  vocab_block_size: int | None,
  table_VD: jax.Array,
  x_BTD: jax.Array,
  target_BT: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array], _Residuals]:
  logp_BT, entropy_BT, z_BT = jax.shard_map(
    functools.partial(_local_scores, vocab_block_size),
    in_specs=(_TABLE, _HIDDEN, _BY_TOKEN),
    out_specs=_BY_TOKEN,
    check_vma=False,
  )(table_VD, x_BTD, target_BT)
  return (logp_BT, entropy_BT), (table_VD, x_BTD, target_BT, z_BT)


def _scores_backward(
  vocab_block_size: int | None,
  residuals: _Residuals,
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, None]:
  logp_cotangent_BT, _ = cotangents
  table_grad_VD, x_grad_BTD = jax.shard_map(
    functools.partial(_local_gradients, vocab_block_size),
    in_specs=(_TABLE, _HIDDEN, _BY_TOKEN, _BY_TOKEN, _BY_TOKEN),
    out_specs=(_TABLE, _HIDDEN),
    check_vma=False,
  )(*residuals, logp_cotangent_BT)
  return table_grad_VD, x_grad_BTD, None


_scores.defvjp(_scores_forward, _scores_backward)

# Layouts of the operands of shard_map, and the mesh axes of its reductions.
_ACTIVATIONS, _PARAMS = meshes.ACTIVATIONS["train"], meshes.PARAMS["train"]
_BY_TOKEN = meshes.spec("BT", _ACTIVATIONS)
_HIDDEN = meshes.spec("BTD", _ACTIVATIONS)
_TABLE = meshes.spec("VD", _PARAMS)
_VOCAB_AXES, _DIM_AXES = (meshes.axes_of(dim, _PARAMS) for dim in "VD")
_ROW_AXES = tuple(
  axis
  for dim in "BT"
  for axis in meshes.axes_of(dim, _ACTIVATIONS)
  if axis not in _DIM_AXES
)


def _local_scores(
  vocab_block_size: int | None,
  table_VD: jax.Array,
  x_BTD: jax.Array,
  target_BT: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Log p, entropy and z = log Σ exp l of this device's tokens, l the logits.

  log p = l_target − z, and the entropy is z − E[l]. Each block contributes its
  own z and E[l], and l_target if the target is in it.
  """
  x_TD = x_BTD.reshape(-1, x_BTD.shape[-1])
  target_T = _local_target(table_VD, target_BT)

  def score(
    block: tuple[jax.Array, jax.Array],
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    block_VD, entry_V = _gathered(block, x_TD.dtype)
    logits_TV = _logits(x_TD, block_VD, entry_V, len(table_VD))
    hit_TV = target_T[:, None] == entry_V[None]
    max_T = jnp.max(logits_TV, axis=1)
    exp_TV = jnp.exp(logits_TV - max_T[:, None])
    sum_T = jnp.sum(exp_TV, axis=1)
    return (
      max_T + jnp.log(sum_T),
      jnp.sum(exp_TV * logits_TV, axis=1) / sum_T,
      jnp.sum(jnp.where(hit_TV, logits_TV, 0), axis=1),
    )

  parts = jax.lax.map(score, _blocks(table_VD, len(x_TD), vocab_block_size))
  # Three numbers per token and block, of all devices with the same tokens.
  z_WT, mean_WT, logit_WT = (
    jax.lax.all_gather(part_WT, _VOCAB_AXES, tiled=True) for part_WT in parts
  )
  z_T = jax.nn.logsumexp(z_WT, axis=0)
  mean_T = jnp.sum(jnp.exp(z_WT - z_T[None]) * mean_WT, axis=0)
  logp_T = jnp.sum(logit_WT, axis=0) - z_T
  logp_BT, entropy_BT, z_BT = (
    x_T.reshape(target_BT.shape) for x_T in (logp_T, z_T - mean_T, z_T)
  )
  return logp_BT, entropy_BT, z_BT


def _local_gradients(
  vocab_block_size: int | None,
  table_VD: jax.Array,
  x_BTD: jax.Array,
  target_BT: jax.Array,
  z_BT: jax.Array,
  cotangent_BT: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of the table and of x: ∂ log p / ∂ l_v = 1[v = target] − p_v."""
  x_TD = x_BTD.reshape(-1, x_BTD.shape[-1])
  target_T = _local_target(table_VD, target_BT)
  z_T, cotangent_T = z_BT.reshape(-1), cotangent_BT.reshape(-1)

  def add(
    x_grad_TD: jax.Array, block: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    block_VD, entry_V = _gathered(block, x_TD.dtype)
    logits_TV = _logits(x_TD, block_VD, entry_V, len(table_VD))
    hit_TV = target_T[:, None] == entry_V[None]
    grad_TV = hit_TV - jnp.exp(logits_TV - z_T[:, None])
    grad_TV = (cotangent_T[:, None] * grad_TV).astype(x_TD.dtype)
    block_grad_VD = _dot("TV,TD->VD", grad_TV, x_TD)
    block_grad_VD = jax.lax.psum_scatter(
      block_grad_VD, _DIM_AXES, scatter_dimension=1, tiled=True
    )
    x_grad_TD += _dot("TV,VD->TD", grad_TV, block_VD)
    return x_grad_TD, block_grad_VD

  x_grad_TD, table_grad_WVD = jax.lax.scan(
    add,
    jnp.zeros(x_TD.shape, jnp.float32),
    _blocks(table_VD, len(x_TD), vocab_block_size),
  )
  table_grad_VD = table_grad_WVD.reshape(-1, table_VD.shape[1])
  table_grad_VD = table_grad_VD[: len(table_VD)]
  # Once, after all blocks: rows may be split over a slow network.
  table_grad_VD = jax.lax.psum(table_grad_VD, _ROW_AXES)
  x_grad_TD = jax.lax.psum(x_grad_TD, _VOCAB_AXES)
  return (
    table_grad_VD.astype(table_VD.dtype),
    x_grad_TD.astype(x_TD.dtype).reshape(x_BTD.shape),
  )


def _blocks(
  table_VD: jax.Array, num_tokens: int, vocab_block_size: int | None
) -> tuple[jax.Array, jax.Array]:
  """The device's part of the table, cut into W blocks.

  Returns:
    table_WVD: the vectors, padded with zeros.
    entry_WV: index of each vector in the device's part of the table.
  """
  V, D = table_VD.shape
  size = vocab_block_size or _block_size(V, num_tokens)
  num_blocks = math.ceil(V / size)
  table_VD = jnp.pad(table_VD, ((0, num_blocks * size - V), (0, 0)))
  table_WVD = table_VD.reshape(num_blocks, size, D)
  entry_WV = jnp.arange(num_blocks * size).reshape(num_blocks, size)
  return table_WVD, entry_WV


def _block_size(vocab_size: int, num_tokens: int) -> int:
  """Size of equal blocks, as few as the bounds allow, of whole lanes."""
  most = min(max(_MAX_LOGITS // num_tokens, _LANES), _MAX_BLOCK)
  if vocab_size <= most:
    return vocab_size
  equal = vocab_size / math.ceil(vocab_size / most)
  return math.ceil(equal / _LANES) * _LANES


def _gathered(
  block: tuple[jax.Array, jax.Array], dtype: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
  """The block with all of D; it is cast first, for half the bytes."""
  block_VD, entry_V = block
  block_VD = block_VD.astype(dtype)
  block_VD = jax.lax.all_gather(block_VD, _DIM_AXES, axis=1, tiled=True)
  return block_VD, entry_V


def _logits(
  x_TD: jax.Array, block_VD: jax.Array, entry_V: jax.Array, end: int
) -> jax.Array:
  """float32 [T, V]; the padding, from entry `end` on, has probability 0."""
  logits_TV = _dot("TD,VD->TV", x_TD, block_VD)
  return jnp.where(entry_V[None] < end, logits_TV, _NEGATIVE)


def _local_target(table_VD: jax.Array, target_BT: jax.Array) -> jax.Array:
  """Index of each target in this device's part of the table, or −1: [T]."""
  target_T = target_BT.reshape(-1)
  index_T = target_T - jax.lax.axis_index(_VOCAB_AXES) * len(table_VD)
  return jnp.where(index_T < len(table_VD), index_T, -1)


def _dot(dims: str, x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.einsum(dims, x, y, preferred_element_type=jnp.float32)
