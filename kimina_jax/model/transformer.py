"""The transformer as one pure function, for training, scoring and decoding.

In: parameters, tokens, positions, and either segments (packed rows) or a paged
KV cache. Out: the last hidden vectors, and the cache with the new keys and
values. Logits are a function of their own, `unembed`, so that no [B, T, V]
array has to exist. The mesh is that of `jax.set_mesh`; layouts of activations
are pinned here and nowhere else.
"""

import functools
from collections.abc import Callable
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
  """The model up to and including the final norm.

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
    layout: "train" or "decode", whose table of activations pins the layouts.

  Returns:
    hidden_BTD in compute_dtype, and the cache (None if there was none).
  """
  table = ACTIVATIONS[layout]
  attend: _Attend
  if cache is None:
    if segments_BT is None:
      segments_BT = jnp.ones_like(tokens_BT)
    attend = functools.partial(_attend_packed, segments_BT, config, table)
  elif segments_BT is not None or block_tables is None:
    raise ValueError("with a cache, pass block_tables and no segments_BT")
  else:
    metadata = make_metadata(
      block_tables, positions_BT, cache=cache, table=table
    )
    attend = functools.partial(
      attend_paged, metadata=metadata, config=config, table=table
    )
  model = layers.Transformer(config)
  embed, norm = (_module(params, model, name) for name in ("embed", "norm"))
  context = _LayerContext(
    graphdef=nnx.graphdef(model.layers),
    config=config,
    angles=rotary_angles(config, positions_BT),
    attend=attend,
    table=table,
    stream=STREAMS[layout],
    training=layout == "train",
  )
  layer = remat.rematerialize(functools.partial(_layer, context), config.remat)
  with jax.named_scope("embed"):
    if context.training:
      x_BTD = embed_sharded(embed.table_VD[...], tokens_BT, embed.dtype)
    else:
      x_BTD = constrain(embed.encode(tokens_BT), "BTD", table)
  (x_BTD, cache), _ = jax.lax.scan(
    layer,
    (x_BTD, cache),
    (jnp.arange(config.num_layers), params["layers"]),
  )
  return constrain(norm(x_BTD), "BTD", table), cache


def unembed(
  params: dict[str, Any], config: ModelConfig, x_D: jax.Array
) -> jax.Array:
  """float32 logits […, V] of hidden vectors […, D] from `forward`."""
  name = "embed" if config.tied else "unembed"
  with jax.named_scope("unembed"):
    return _module(params, layers.Transformer(config), name).decode(x_D)


# Attention of a layer: (queries, keys, values, cache, layer=…) → output, cache.
_Attend = Callable[..., tuple[jax.Array, PagedCache | None]]


class _LayerContext(NamedTuple):
  """Inputs that all layers of a forward pass share.

  Attributes:
    graphdef: of the layer's modules.
    config: of the model.
    angles: cosines and sines of the rotary embeddings.
    attend: attention over packed rows or over the cache.
    table: mesh axes of the activations' dims.
    stream: the same of the residual stream.
    training: whether weights are in the train layout.
  """

  graphdef: nnx.GraphDef
  config: ModelConfig
  angles: tuple[jax.Array, jax.Array]
  attend: _Attend
  table: Table
  stream: Table
  training: bool


def _layer(
  context: _LayerContext,
  carry: tuple[jax.Array, PagedCache | None],
  indexed: tuple[jax.Array, dict[str, Any]],
) -> tuple[tuple[jax.Array, PagedCache | None], None]:
  """Body of the scan; the whole cache is carried, to be updated in place."""
  (x_BTD, cache), (index, params) = carry, indexed
  table = context.table
  layer = nnx.merge(context.graphdef, _gather_weights(context, params))
  x_BTD = checkpoint_name(x_BTD, remat.INPUT)
  with jax.named_scope("attention"):
    normed_BTD = constrain(layer.attention_norm(x_BTD), "BTD", table)
    q_BTNH, k_BTKH, v_BTKH = layer.attention.project(normed_BTD)
    q_BTNH = constrain(rotate(q_BTNH, context.angles), "BTNH", table)
    k_BTKH = constrain(rotate(k_BTKH, context.angles), "BTKH", table)
    v_BTKH = constrain(v_BTKH, "BTKH", table)
    q_BTNH = checkpoint_name(q_BTNH, remat.QUERY)
    k_BTKH = checkpoint_name(k_BTKH, remat.KEY)
    v_BTKH = checkpoint_name(v_BTKH, remat.VALUE)
    out_BTNH, cache = context.attend(q_BTNH, k_BTKH, v_BTKH, cache, layer=index)
    out_BTNH = constrain(out_BTNH, "BTNH", table)
    out_BTD = layer.attention.merge(out_BTNH)
    x_BTD += constrain(out_BTD, "BTD", context.stream)
  with jax.named_scope("mlp"):
    normed_BTD = constrain(layer.ffn_norm(x_BTD), "BTD", table)
    hidden_BTF = constrain(layer.ffn.expand(normed_BTD), "BTF", table)
    out_BTD = layer.ffn.contract(hidden_BTF)
    x_BTD += constrain(out_BTD, "BTD", context.stream)
  return (x_BTD, cache), None


def _attend_packed(
  segments_BT: jax.Array,
  config: ModelConfig,
  table: Table,
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  cache: None,
  *,
  layer: jax.Array,
) -> tuple[jax.Array, None]:
  """Attention within the rows of the batch, without a cache."""
  del layer  # All layers attend alike.
  out_BTNH = packed_attention(
    q_BTNH, k_BTKH, v_BTKH, segments_BT, kernel=config.attention, table=table
  )
  return out_BTNH, cache


def _gather_weights(
  context: _LayerContext, params: dict[str, Any]
) -> dict[str, Any]:
  """A layer's weights in compute_dtype, gathered over the mesh axes of D.

  Forward gathers them once for all matmuls of the layer, and backward once
  more. With remat "none" they would be saved for backward; then each matmul
  gathers its own weight instead.
  """
  if not context.training or context.config.remat == "none":
    return params

  def gather(path: tuple[Any, ...], weight: jax.Array) -> jax.Array:
    dims = path[-1].key.split("_")[-1]
    return _gather(weight.astype(context.config.compute_dtype), dims)

  return jax.tree.map_with_path(gather, params)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(weight: jax.Array, dims: str) -> jax.Array:
  # Pinned before the gather, too, so that the cast weight is what is sent.
  weight = constrain(weight, dims, PARAMS["train"])
  return constrain(weight, dims, PARAMS["decode"])


def _gather_forward(weight: jax.Array, dims: str) -> tuple[jax.Array, None]:
  return _gather(weight, dims), None


def _gather_backward(dims: str, _: None, grad: jax.Array) -> tuple[jax.Array]:
  # Reduce-scatter instead of all-reduce. One mesh axis at a time: for two at
  # once the compiler gathers all activations instead.
  table = PARAMS["train"]
  axes = axes_of("D", table)
  for count in range(1, len(axes) + 1):
    grad = constrain(grad, dims, {**table, "D": axes[:count]})
  return (grad,)


_gather.defvjp(_gather_forward, _gather_backward)


def _module(
  params: dict[str, Any], model: layers.Transformer, name: str
) -> Any:
  """The module of that name with its parameters."""
  return nnx.merge(nnx.graphdef(getattr(model, name)), params[name])
