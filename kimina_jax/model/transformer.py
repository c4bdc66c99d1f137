"""The model as one pure function, for training, scoring and decoding.

In: parameters, tokens, positions, and either segments (packed rows) or a paged
KV cache. Out: hidden vectors and the cache with the new keys. Logits are a step
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
from kimina_jax.model.attention import packed_attention
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.embedding import embed_sharded
from kimina_jax.model.paged import (
  AttentionMetadata,
  BlockTables,
  PagedCache,
  attend_paged,
  make_metadata,
)
from kimina_jax.model.rope import rotary_angles, rotate


def forward(
  params: dict[str, Any],
  config: ModelConfig,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  *,
  segments_BT: jax.Array | None = None,
  cache: PagedCache | None = None,
  block_tables: BlockTables | None = None,
  layout: str = "train",
) -> tuple[jax.Array, PagedCache | None]:
  """Qwen2.5 up to and including the final norm.

  Without a cache, token t attends to the tokens before it in its segment. With
  one, a row holds the tokens of one replica, of the sequences of
  `block_tables`: keys and values of a token are stored in its sequence's pages,
  and it attends to the positions there up to its own. Call it under jit, with a
  mesh set.

  Args:
    params: as `init_params` makes them.
    config: static under jit.
    tokens_BT: int32.
    positions_BT: int32, from 0 within each segment or sequence; with a cache,
      -1 is no token.
    segments_BT: int32, 0 for padding; None is one segment per row.
    cache: donate it under jit and it is updated in place.
    block_tables: pages of the sequences to which the tokens belong; needed
      with a cache.
    layout: "train" or "decode", which activation table pins the layouts.

  Returns:
    hidden_BTD in compute_dtype, and the cache (None if there was none).
  """
  table = ACTIVATIONS[layout]
  if cache is None:
    mask = jnp.ones_like(tokens_BT) if segments_BT is None else segments_BT
  elif segments_BT is not None or block_tables is None:
    raise ValueError("with a cache, pass block_tables and no segments_BT")
  else:
    mask = make_metadata(block_tables, positions_BT, cache=cache, table=table)
  model = layers.Transformer(config)
  embed, norm = (_part(params, model, name) for name in ("embed", "norm"))
  step = _Step(
    graphdef=nnx.graphdef(model.layers),
    config=config,
    angles=rotary_angles(config, positions_BT),
    mask=mask,
    table=table,
    stream=STREAMS[layout],
    training=layout == "train",
  )
  body = remat.rematerialize(functools.partial(_layer, step), config.remat)
  if step.training:
    x_BTD = embed_sharded(embed.table_VD[...], tokens_BT, embed.dtype)
  else:
    x_BTD = constrain(embed.encode(tokens_BT), "BTD", table)
  carry = (x_BTD, cache)
  numbered = (jnp.arange(config.num_layers), params["layers"])
  (x_BTD, cache), _ = jax.lax.scan(body, carry, numbered)
  return constrain(norm(x_BTD), "BTD", table), cache


def unembed(
  params: dict[str, Any], config: ModelConfig, x_D: jax.Array
) -> jax.Array:
  """float32 logits […, V] of what `forward` returned […, D]."""
  name = "embed" if config.tied else "unembed"
  return _part(params, layers.Transformer(config), name).decode(x_D)


class _Step(NamedTuple):
  """What every layer of one forward shares."""

  graphdef: nnx.GraphDef
  config: ModelConfig
  angles: tuple[jax.Array, jax.Array]
  mask: jax.Array | AttentionMetadata
  table: Table
  stream: Table
  training: bool


def _layer(
  step: _Step,
  carry: tuple[jax.Array, PagedCache | None],
  numbered: tuple[jax.Array, dict[str, Any]],
) -> tuple[tuple[jax.Array, PagedCache | None], None]:
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
  heads = (q_BTNH, k_BSKH, v_BSKH)
  out_BTNH, cache = _attend(step, index, heads, cache)
  out_BTNH = constrain(out_BTNH, "BTNH", step.table)
  x_BTD += constrain(layer.attention.merge(out_BTNH), "BTD", step.stream)
  normed_BTD = constrain(layer.ffn_norm(x_BTD), "BTD", step.table)
  hidden_BTF = layer.ffn.expand(normed_BTD)
  hidden_BTF = constrain(hidden_BTF, "BTF", step.table)
  x_BTD += constrain(layer.ffn.contract(hidden_BTF), "BTD", step.stream)
  return (x_BTD, cache), None


def _attend(
  step: _Step,
  index: jax.Array,
  heads: tuple[jax.Array, jax.Array, jax.Array],
  cache: PagedCache | None,
) -> tuple[jax.Array, PagedCache | None]:
  """Among the tokens at hand, or in the cache."""
  if cache is None:
    kernel = step.config.attention
    out_BTNH = packed_attention(
      *heads, step.mask, kernel=kernel, table=step.table
    )
    return out_BTNH, None
  return attend_paged(
    *heads,
    cache,
    layer=index,
    metadata=step.mask,
    config=step.config,
    table=step.table,
  )


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


def _part(
  params: dict[str, Any], model: layers.Transformer, name: str
) -> nnx.Module:
  return nnx.merge(nnx.graphdef(getattr(model, name)), params[name])
