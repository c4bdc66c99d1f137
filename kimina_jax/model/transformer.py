"""The model as one pure function, for training, scoring and decoding.

In: parameters, tokens, positions, and either segments (packed rows) or a KV
cache. Out: hidden vectors and the cache with the new keys. Logits are a step
of their own (`unembed`), so that no [B, T, V] array need exist. The mesh is
the one of `jax.set_mesh`; layouts are pinned here and nowhere else.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from kimina_jax.infra.mesh import (
  ACTIVATIONS,
  PARAMS,
  STREAMS,
  Table,
  axes_of,
  constrain,
)
from kimina_jax.model import layers, remat
from kimina_jax.model.attention import Cached, Mask, Packed, attend
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.lookup import look_up
from kimina_jax.model.rope import rotary_angles, rotate


class KVCache(NamedTuple):
  """Keys and values by layer, row and position, in compute_dtype."""

  k_LBSKH: jax.Array
  v_LBSKH: jax.Array


def forward(
  params: dict[str, Any],
  config: ModelConfig,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  *,
  segments_BT: jax.Array | None = None,
  cache: KVCache | None = None,
  kv_len: int | None = None,
  layout: str = "train",
) -> tuple[jax.Array, KVCache | None]:
  """Qwen2.5 up to and including the final norm.

  Without a cache, token t attends the tokens before it in its segment. With
  one, keys and values of token (b, t) are stored at [l, b, positions_BT[b, t]]
  and the token attends what lies at positions 0 … positions_BT[b, t] of row b.
  A token whose position is S or more is not stored: give that to padding.
  Call it under jit, with a mesh set.

  Args:
    params: as `init_params` makes them.
    config: static under jit.
    tokens_BT: int32.
    positions_BT: int32, from 0 within each segment.
    segments_BT: int32, 0 for padding; None is one segment per row.
    cache: donate it under jit and it is updated in place.
    kv_len: static; only the first kv_len entries of the cache are looked at.
      None is all of them.
    layout: "train" or "decode", which activation table pins the layouts.

  Returns:
    hidden_BTD in compute_dtype, and the cache (None if there was none).
  """
  table = ACTIVATIONS[layout]
  model = _merge(params, config)
  step = _Step(
    graphdef=nnx.graphdef(model.layers),
    config=config,
    positions_BT=positions_BT,
    angles=rotary_angles(config, positions_BT),
    mask=_mask(tokens_BT, positions_BT, segments_BT, cache),
    kv_len=kv_len,
    table=table,
    stream=STREAMS[layout],
    training=layout == "train",
  )
  body = remat.remat(functools.partial(_layer, step), config.remat)
  if step.training:
    x_BTD = look_up(model.embed.table_VD[...], tokens_BT, model.embed.dtype)
  else:
    x_BTD = constrain(model.embed.encode(tokens_BT), "BTD", table)
  numbered = (jnp.arange(config.num_layers), params["layers"])
  (x_BTD, cache), _ = jax.lax.scan(body, (x_BTD, cache), numbered)
  return constrain(model.norm(x_BTD), "BTD", table), cache


def unembed(
  params: dict[str, Any], config: ModelConfig, x_D: jax.Array
) -> jax.Array:
  """float32 logits […, V] of what `forward` returned […, D]."""
  model = _merge(params, config)
  return (model.embed if config.tied else model.unembed).decode(x_D)


def init_cache(config: ModelConfig, num_rows: int, length: int) -> KVCache:
  """A cache of zeros; rows are B, length is S."""
  shape = (config.num_layers, num_rows, length)
  shape = (*shape, config.num_kv_heads, config.head_dim)
  zeros = jnp.zeros(shape, jnp.dtype(config.compute_dtype))
  return KVCache(k_LBSKH=zeros, v_LBSKH=zeros.copy())


class _Step(NamedTuple):
  """What every layer of one forward shares."""

  graphdef: nnx.GraphDef
  config: ModelConfig
  positions_BT: jax.Array
  angles: tuple[jax.Array, jax.Array]
  mask: Mask
  kv_len: int | None
  table: Table
  stream: Table
  training: bool


def _layer(
  step: _Step,
  carry: tuple[jax.Array, KVCache | None],
  numbered: tuple[jax.Array, dict[str, Any]],
) -> tuple[tuple[jax.Array, KVCache | None], None]:
  """Body of the scan; the cache is carried whole, to be updated in place."""
  (x_BTD, cache), (index, params) = carry, numbered
  layer = nnx.merge(step.graphdef, _whole(step, params))
  x_BTD = checkpoint_name(x_BTD, remat.INPUT)
  normed_BTD = constrain(layer.attention_norm(x_BTD), "BTD", step.table)
  q_BTNH, k_BTKH, v_BTKH = layer.attention.project(normed_BTD)
  q_BTNH = constrain(rotate(q_BTNH, step.angles), "BTNH", step.table)
  k_BTKH = constrain(rotate(k_BTKH, step.angles), "BTKH", step.table)
  v_BTKH = constrain(v_BTKH, "BTKH", step.table)
  q_BTNH = checkpoint_name(q_BTNH, remat.QUERY)
  k_BSKH = checkpoint_name(k_BTKH, remat.KEY)
  v_BSKH = checkpoint_name(v_BTKH, remat.VALUE)
  if cache is not None:
    cache = _store(cache, index, step, k_BSKH, v_BSKH)
    k_BSKH, v_BSKH = _load(cache, index, step.kv_len)
  out_BTNH = attend(
    q_BTNH,
    k_BSKH,
    v_BSKH,
    mask=step.mask,
    kernel=step.config.attention,
    table=step.table,
  )
  out_BTNH = constrain(out_BTNH, "BTNH", step.table)
  x_BTD += constrain(layer.attention.merge(out_BTNH), "BTD", step.stream)
  normed_BTD = constrain(layer.ffn_norm(x_BTD), "BTD", step.table)
  hidden_BTF = layer.ffn.expand(normed_BTD)
  hidden_BTF = constrain(hidden_BTF, "BTF", step.table)
  x_BTD += constrain(layer.ffn.contract(hidden_BTF), "BTD", step.stream)
  return (x_BTD, cache), None


def _whole(step: _Step, params: dict[str, Any]) -> dict[str, Any]:
  """A layer's weights in compute_dtype, gathered over the axes of D.

  Once for all that read them, so that forward gathers them once, and backward
  a second time. Where all is saved for backward they must not be part of it:
  then each matmul gathers its own.
  """
  if not step.training or step.config.remat == "none":
    return params

  def gather(path: tuple[Any, ...], weight: jax.Array) -> jax.Array:
    dims = path[-1].key.split("_")[-1]
    return _gather(weight.astype(step.config.compute_dtype), dims)

  return jax.tree.map_with_path(gather, params)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(weight: jax.Array, dims: str) -> jax.Array:
  # Pinned before, too: what travels is the cast weight.
  weight = constrain(weight, dims, PARAMS["train"])
  return constrain(weight, dims, PARAMS["decode"])


def _gather_forward(weight: jax.Array, dims: str) -> tuple[jax.Array, None]:
  return _gather(weight, dims), None


def _gather_backward(dims: str, _: None, grad: jax.Array) -> tuple[jax.Array]:
  # Summed and scattered in one: nobody needs the whole gradient. Over one axis
  # at a time: for two at once the compiler gathers all activations instead.
  table = PARAMS["train"]
  axes = axes_of("D", table)
  for count in range(1, len(axes) + 1):
    grad = constrain(grad, dims, {**table, "D": axes[:count]})
  return (grad,)


_gather.defvjp(_gather_forward, _gather_backward)


# Where `_store` puts [B, T, K, H] in [L, B, S, K, H], at (layer, position) of
# the same row. Rows are a batch dim, so that a row's device keeps it to itself.
_SCATTER = jax.lax.ScatterDimensionNumbers(
  update_window_dims=(2, 3),
  inserted_window_dims=(0, 2),
  scatter_dims_to_operand_dims=(0, 2),
  operand_batching_dims=(1,),
  scatter_indices_batching_dims=(0,),
)


def _store(
  cache: KVCache,
  index: jax.Array,
  step: _Step,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
) -> KVCache:
  layer_BT = jnp.full_like(step.positions_BT, index)
  at_BT2 = jnp.stack((layer_BT, step.positions_BT), axis=-1)

  def put(cache_LBSKH: jax.Array, new_BTKH: jax.Array) -> jax.Array:
    drop = jax.lax.GatherScatterMode.FILL_OR_DROP
    cache_LBSKH = jax.lax.scatter(
      cache_LBSKH, at_BT2, new_BTKH, _SCATTER, mode=drop
    )
    return constrain(cache_LBSKH, "LBSKH", step.table)

  return KVCache(put(cache.k_LBSKH, k_BTKH), put(cache.v_LBSKH, v_BTKH))


def _load(
  cache: KVCache, index: jax.Array, kv_len: int | None
) -> tuple[jax.Array, jax.Array]:
  """One layer of the cache, the first kv_len positions of each row."""
  _, B, S, K, H = cache.k_LBSKH.shape
  start, size = (index, 0, 0, 0, 0), (1, B, kv_len or S, K, H)
  k_LBSKH, v_LBSKH = (jax.lax.dynamic_slice(x, start, size) for x in cache)
  return k_LBSKH[0], v_LBSKH[0]


def _mask(
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segments_BT: jax.Array | None,
  cache: KVCache | None,
) -> Mask:
  if cache is not None:
    if segments_BT is not None:
      raise ValueError("rows of a cache are one segment: pass no segments_BT")
    return Cached(positions_BT)
  if segments_BT is None:
    segments_BT = jnp.ones_like(tokens_BT)
  return Packed(segments_BT)


def _merge(params: dict[str, Any], config: ModelConfig) -> layers.Transformer:
  return nnx.merge(nnx.graphdef(layers.Transformer(config)), params)
