"""Log-probabilities and entropy of tokens under the model.

In: parameters and packed tokens. Out: two [B, T] arrays in float32.
Never holds logits of more than one block of the vocabulary: neither forward
nor backward makes a [B, T, V] array, which would dwarf the rest of the step.

Blocks are cut from the vocabulary, not from the tokens. Every device works on
its own tokens in every block, whichever axes they are split over. Each part
of the unembedding table is gathered over `fsdp` once in forward and once in
backward, and its gradient is complete, and reduced to its shards, as soon as
its block is done: at no time is the table, or its float32 gradient, whole on
a device (152,064 × 8,192 would be 2.3 and 4.6 GiB). Blocks of tokens would
move as many bytes only with both of them resident.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.transformer import forward

# Logits that exist on a device at a time: 128 MiB in float32.
_MAX_LOGITS = 2**25

# Entries of a block: a multiple of what a matrix unit takes at once, and no
# more than what already keeps it busy.
_LANES = 128
_MAX_BLOCK = 4096

_NEVER = jnp.finfo(jnp.float32).min


def token_logprobs(
  params: dict[str, Any],
  config: ModelConfig,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segments_BT: jax.Array,
  *,
  chunk: int | None = None,
) -> tuple[jax.Array, jax.Array]:
  """log π(y_t) of every token, and the entropy it was chosen with.

  Call it under jit, with a mesh set.

  Args:
    params: as the model makes them, in the train layout.
    config: static under jit.
    tokens_BT: int32.
    positions_BT: int32, 0 at the first token of a segment.
    segments_BT: int32, 0 at padding.
    chunk: vocabulary entries whose logits exist at a time, static; None takes
      as many as keep a device's logits below a fixed size.

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
  table_VD = params["embed" if config.tied else "unembed"]["table_VD"]
  scores = _scores(chunk, table_VD, hidden_BTD, next_BT)
  predicted_BT = (positions_BT > 0) & (segments_BT > 0)
  logp_BT, entropy_BT = (
    jnp.where(predicted_BT, jnp.roll(score_BT, 1, axis=1), 0)
    for score_BT in scores
  )
  return logp_BT, jax.lax.stop_gradient(entropy_BT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scores(
  chunk: int | None, table_VD: jax.Array, x_BTD: jax.Array, target_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """log p(target) and entropy at each position; the entropy is a constant."""
  return _scores_forward(chunk, table_VD, x_BTD, target_BT)[0]


def _scores_forward(
  chunk: int | None, table_VD: jax.Array, x_BTD: jax.Array, target_BT: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, ...]]:
  logp_BT, entropy_BT, z_BT = jax.shard_map(
    functools.partial(_local_scores, chunk),
    in_specs=(_TABLE, _HIDDEN, _BY_TOKEN),
    out_specs=_BY_TOKEN,
    check_vma=False,
  )(table_VD, x_BTD, target_BT)
  return (logp_BT, entropy_BT), (table_VD, x_BTD, target_BT, z_BT)


def _scores_backward(
  chunk: int | None,
  residuals: tuple[jax.Array, ...],
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, None]:
  table_grad_VD, x_grad_BTD = jax.shard_map(
    functools.partial(_local_gradients, chunk),
    in_specs=(_TABLE, _HIDDEN, _BY_TOKEN, _BY_TOKEN, _BY_TOKEN),
    out_specs=(_TABLE, _HIDDEN),
    check_vma=False,
  )(*residuals, cotangents[0])
  return table_grad_VD, x_grad_BTD, None


_scores.defvjp(_scores_forward, _scores_backward)

# The layouts of what goes through shard_map, and the mesh axes of its sums.
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
  chunk: int | None, table_VD: jax.Array, x_BTD: jax.Array, target_BT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Of this device's tokens, merged to M: log p, entropy and z = log Σ exp l.

  With l the logits, log p = l_target − z and the entropy is z − E[l]. A block
  contributes its own z and E[l], and l_target if the target is in it.
  """
  x_MD = x_BTD.reshape(-1, x_BTD.shape[-1])
  target_M = _local_target(table_VD, target_BT)

  def score(block: _Block) -> tuple[jax.Array, jax.Array, jax.Array]:
    logits_MC = _logits(x_MD, block, len(table_VD))
    hit_MC = target_M[:, None] == block.entry_C[None]
    max_M = jnp.max(logits_MC, axis=1)
    exp_MC = jnp.exp(logits_MC - max_M[:, None])
    sum_M = jnp.sum(exp_MC, axis=1)
    return (
      max_M + jnp.log(sum_M),
      jnp.sum(exp_MC * logits_MC, axis=1) / sum_M,
      jnp.sum(jnp.where(hit_MC, logits_MC, 0), axis=1),
    )

  blocks = _cut(table_VD, len(x_MD), chunk)
  parts = jax.lax.map(lambda block: score(_gathered(block, x_MD.dtype)), blocks)
  # Three numbers per token and block, of all devices that share the tokens.
  z_nM, mean_nM, logit_nM = (
    jax.lax.all_gather(part_nM, _VOCAB_AXES, tiled=True) for part_nM in parts
  )
  z_M = jax.nn.logsumexp(z_nM, axis=0)
  mean_M = jnp.sum(jnp.exp(z_nM - z_M[None]) * mean_nM, axis=0)
  logp_M = jnp.sum(logit_nM, axis=0) - z_M
  return tuple(
    x_M.reshape(target_BT.shape) for x_M in (logp_M, z_M - mean_M, z_M)
  )


def _local_gradients(
  chunk: int | None,
  table_VD: jax.Array,
  x_BTD: jax.Array,
  target_BT: jax.Array,
  z_BT: jax.Array,
  cotangent_BT: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Of table and hidden vectors: ∂ log p / ∂ l_v = 1[v = target] − p_v."""
  x_MD = x_BTD.reshape(-1, x_BTD.shape[-1])
  target_M = _local_target(table_VD, target_BT)
  z_M, cotangent_M = z_BT.reshape(-1), cotangent_BT.reshape(-1)

  def add(x_grad_MD: jax.Array, block: _Block) -> tuple[jax.Array, jax.Array]:
    block = _gathered(block, x_MD.dtype)
    logits_MC = _logits(x_MD, block, len(table_VD))
    hit_MC = target_M[:, None] == block.entry_C[None]
    grad_MC = hit_MC - jnp.exp(logits_MC - z_M[:, None])
    grad_MC = (cotangent_M[:, None] * grad_MC).astype(x_MD.dtype)
    table_grad_CD = _dot("MC,MD->CD", grad_MC, x_MD)
    table_grad_CD = jax.lax.psum_scatter(
      table_grad_CD, _DIM_AXES, scatter_dimension=1, tiled=True
    )
    x_grad_MD += _dot("MC,CD->MD", grad_MC, block.table_CD)
    return x_grad_MD, table_grad_CD

  x_grad_MD, table_grad_nCD = jax.lax.scan(
    add,
    jnp.zeros(x_MD.shape, jnp.float32),
    _cut(table_VD, len(x_MD), chunk),
  )
  table_grad_VD = table_grad_nCD.reshape(-1, table_VD.shape[1])
  table_grad_VD = table_grad_VD[: len(table_VD)]
  # Once, outside of the blocks: rows may be split over a slow network.
  table_grad_VD = jax.lax.psum(table_grad_VD, _ROW_AXES)
  x_grad_MD = jax.lax.psum(x_grad_MD, _VOCAB_AXES)
  return (
    table_grad_VD.astype(table_VD.dtype),
    x_grad_MD.astype(x_MD.dtype).reshape(x_BTD.shape),
  )


class _Block(NamedTuple):
  """Part of this device's vocabulary; stacked blocks lead with n.

  Attributes:
    table_CD: vectors, zeros after the last.
    entry_C: their places in this device's part of the table.
  """

  table_CD: jax.Array
  entry_C: jax.Array


def _cut(table_VD: jax.Array, num_tokens: int, chunk: int | None) -> _Block:
  """The device's part of the table as stacked blocks."""
  V, D = table_VD.shape
  size = chunk or _block_size(V, num_tokens)
  num_blocks = math.ceil(V / size)
  table_VD = jnp.pad(table_VD, ((0, num_blocks * size - V), (0, 0)))
  return _Block(
    table_CD=table_VD.reshape(num_blocks, size, D),
    entry_C=jnp.arange(num_blocks * size).reshape(num_blocks, size),
  )


def _block_size(vocab_size: int, num_tokens: int) -> int:
  """Equal blocks, as few as the bounds allow, of whole lanes if several."""
  most = min(max(_MAX_LOGITS // num_tokens, _LANES), _MAX_BLOCK)
  if vocab_size <= most:
    return vocab_size
  equal = vocab_size / math.ceil(vocab_size / most)
  return math.ceil(equal / _LANES) * _LANES


def _gathered(block: _Block, dtype: jnp.dtype) -> _Block:
  """The block whole in D; cast first, for half the bytes."""
  table_CD = block.table_CD.astype(dtype)
  table_CD = jax.lax.all_gather(table_CD, _DIM_AXES, axis=1, tiled=True)
  return block._replace(table_CD=table_CD)


def _logits(x_MD: jax.Array, block: _Block, end: int) -> jax.Array:
  """float32 [M, C]; what fills up the last block is never chosen."""
  logits_MC = _dot("MD,CD->MC", x_MD, block.table_CD)
  return jnp.where(block.entry_C[None] < end, logits_MC, _NEVER)


def _local_target(table_VD: jax.Array, target_BT: jax.Array) -> jax.Array:
  """[M]: each target's place in this device's part of the table, or −1."""
  target_M = target_BT.reshape(-1)
  place_M = target_M - jax.lax.axis_index(_VOCAB_AXES) * len(table_VD)
  return jnp.where(place_M < len(table_VD), place_M, -1)


def _dot(dims: str, x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.einsum(dims, x, y, preferred_element_type=jnp.float32)
