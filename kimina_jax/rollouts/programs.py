"""The device programs of the sampler: start, prefill, admit, decode.

In: weights, the state of B slots, and what the host decided. Out: the next
state and a Trace for the host. T counts the steps of one dispatch, P the
prompts of one prefill. Nothing here talks to the host or knows of time; the
log lines run when JAX traces, so once per compilation.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.transformer import KVCache, forward, init_cache, unembed
from kimina_jax.rollouts.cache import share
from kimina_jax.rollouts.sampling import Draw, sample


class Slots(NamedTuple):
  """B sequences being decoded.

  The cache holds what lies before `token_B`; the next step feeds that token
  at `position_B` and draws its successor.

  Attributes:
    cache: keys and values, S positions per slot.
    row_B: int32, the rollout in the slot; names its random numbers.
    token_B: int32, the last token, not yet in the cache.
    position_B: int32, where it stands.
    drawn_B: int32, tokens of the response so far.
    active_B: bool; an idle slot repeats its step and is read by nobody.
  """

  cache: KVCache
  row_B: Any
  token_B: Any
  position_B: Any
  drawn_B: Any
  active_B: Any


class Admission(NamedTuple):
  """What the host puts into the slots; int32 [B] each.

  Attributes:
    source_B: the prompt's index in the prefill; -1 leaves the slot alone.
    row_B: the rollout's row.
    token_B: the prompt's last token.
    position_B: where that token stands.
  """

  source_B: Any
  row_B: Any
  token_B: Any
  position_B: Any


class Trace(NamedTuple):
  """What one dispatch drew.

  Attributes:
    tokens_TB: int32; valid up to the slot's last draw.
    logps_TB: float32, under the distribution drawn from.
    model_logps_TB: float32, under the model.
    drawn_B: int32, tokens of the response after the dispatch.
    active_B: bool, whether the response goes on.
  """

  tokens_TB: Any
  logps_TB: Any
  model_logps_TB: Any
  drawn_B: Any
  active_B: Any


class Limits(NamedTuple):
  """What is fixed for an engine: how to draw, when to stop."""

  temperature: float
  top_p: float
  stop_id: int
  max_response_len: int
  num_steps: int


class Programs(NamedTuple):
  """The compiled four; call and lower them inside `jax.set_mesh`.

  Attributes:
    start: () -> Slots.
    prefill: (params, tokens_PT) -> KVCache.
    admit: (slots, prefilled, admission) -> Slots; slots are donated.
    decode: (params, slots, seeds, kv_len=…) -> Slots and Trace; slots are
      donated, kv_len is static.
  """

  start: Callable[..., Slots]
  prefill: Callable[..., KVCache]
  admit: Callable[..., Slots]
  decode: Callable[..., tuple[Slots, Trace]]


def make_programs(
  config: ModelConfig,
  mesh: jax.sharding.Mesh,
  *,
  limits: Limits,
  num_slots: int,
  cache_len: int,
) -> Programs:
  """Names the programs and where their results lie.

  Args:
    config: of the model.
    mesh: of the replicas: slots over data and fsdp, heads over tensor.
    limits: how to draw, when to stop.
    num_slots: B.
    cache_len: S, positions of a slot.
  """
  slots = slot_shardings(mesh)
  everywhere = meshes.sharding(mesh, "", meshes.ACTIVATIONS["decode"])
  return Programs(
    start=jax.jit(
      functools.partial(start, config, num_slots, cache_len),
      out_shardings=slots,
    ),
    prefill=jax.jit(
      functools.partial(prefill, config=config), out_shardings=slots.cache
    ),
    admit=jax.jit(admit, donate_argnums=0, out_shardings=slots),
    decode=jax.jit(
      functools.partial(decode, config=config, limits=limits),
      static_argnames="kv_len",
      donate_argnums=1,
      out_shardings=(slots, everywhere),
    ),
  )


def slot_shardings(mesh: jax.sharding.Mesh) -> Slots:
  """Slots over (data, fsdp), kv heads over tensor."""
  table = meshes.ACTIVATIONS["decode"]
  cache = meshes.sharding(mesh, "LBSKH", table)
  each = meshes.sharding(mesh, "B", table)
  return Slots(KVCache(cache, cache), each, each, each, each, each)


def start(config: ModelConfig, num_slots: int, length: int) -> Slots:
  """Idle slots with a cache of `length` positions."""
  zeros_B = jnp.zeros(num_slots, jnp.int32)
  return Slots(
    cache=init_cache(config, num_slots, length),
    row_B=zeros_B,
    token_B=zeros_B,
    position_B=zeros_B,
    drawn_B=zeros_B,
    active_B=jnp.zeros(num_slots, bool),
  )


def prefill(
  params: dict[str, Any], tokens_PT: jax.Array, *, config: ModelConfig
) -> KVCache:
  """Keys and values of right-padded prompts.

  Those of the padding are never attended: a slot writes each position before
  it looks at it.
  """
  num_prompts, length = tokens_PT.shape
  logging.info("compiling prefill: %d prompts × %d", num_prompts, length)
  positions_PT = jnp.broadcast_to(jnp.arange(length)[None], tokens_PT.shape)
  _, cache = forward(
    params,
    config,
    tokens_PT,
    positions_PT,
    cache=init_cache(config, num_prompts, length),
    layout="decode",
  )
  return cache


def admit(slots: Slots, prefilled: KVCache, admission: Admission) -> Slots:
  """Puts rows into slots; the other slots stay as they are."""
  logging.info("compiling admit: prefill %s", prefilled.k_LBSKH.shape)
  new_B = admission.source_B >= 0
  return Slots(
    cache=share(slots.cache, prefilled, admission.source_B),
    row_B=jnp.where(new_B, admission.row_B, slots.row_B),
    token_B=jnp.where(new_B, admission.token_B, slots.token_B),
    position_B=jnp.where(new_B, admission.position_B, slots.position_B),
    drawn_B=jnp.where(new_B, 0, slots.drawn_B),
    active_B=slots.active_B | new_B,
  )


def decode(
  params: dict[str, Any],
  slots: Slots,
  seeds: jax.Array,
  *,
  kv_len: int,
  config: ModelConfig,
  limits: Limits,
) -> tuple[Slots, Trace]:
  """Draws up to `limits.num_steps` tokens per slot; ends when all are idle.

  Token t of row r is drawn with fold_in(fold_in(fold_in(key(seed), step), r),
  t), whatever slot r sits in and whoever sits beside it.

  Args:
    params: in decode layout.
    slots: donated.
    seeds: uint32 [2], seed and step.
    kv_len: static, a bound on every active position plus num_steps.
    config: static.
    limits: static.
  """
  num_slots, num_steps = slots.row_B.shape[0], limits.num_steps
  logging.info(
    "compiling decode: %d slots × %d steps, %d positions",
    num_slots,
    num_steps,
    kv_len,
  )
  key = jax.random.fold_in(jax.random.key(seeds[0]), seeds[1])
  keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, slots.row_B)
  step = functools.partial(
    _step, params, keys_B, kv_len=kv_len, config=config, limits=limits
  )
  ints_TB = jnp.zeros((num_steps, num_slots), jnp.int32)
  floats_TB = jnp.zeros((num_steps, num_slots), jnp.float32)
  _, slots, draws = jax.lax.while_loop(
    lambda state: (state[0] < num_steps) & jnp.any(state[1].active_B),
    step,
    (jnp.int32(0), slots, Draw(ints_TB, floats_TB, floats_TB)),
  )
  return slots, Trace(*draws, drawn_B=slots.drawn_B, active_B=slots.active_B)


def _step(
  params: dict[str, Any],
  keys_B: jax.Array,
  state: tuple[jax.Array, Slots, Draw],
  *,
  kv_len: int,
  config: ModelConfig,
  limits: Limits,
) -> tuple[jax.Array, Slots, Draw]:
  """Feeds each slot's token, draws its successor, writes it at step t."""
  t, slots, draws_TB = state
  hidden_BTD, cache = forward(
    params,
    config,
    slots.token_B[:, None],
    slots.position_B[:, None],
    cache=slots.cache,
    kv_len=kv_len,
    layout="decode",
  )
  draw = sample(
    jax.vmap(jax.random.fold_in)(keys_B, slots.drawn_B),
    unembed(params, config, hidden_BTD[:, 0]),
    temperature=limits.temperature,
    top_p=limits.top_p,
  )
  slots = _advance(slots._replace(cache=cache), draw.tokens_B, limits)
  draws_TB = jax.tree.map(lambda x_TB, x_B: x_TB.at[t].set(x_B), draws_TB, draw)
  return t + 1, slots, draws_TB


def _advance(slots: Slots, tokens_B: jax.Array, limits: Limits) -> Slots:
  """Active slots take their token; those at the end of theirs go idle."""
  moved_B = slots.active_B.astype(jnp.int32)
  drawn_B = slots.drawn_B + moved_B
  ended_B = (tokens_B == limits.stop_id) | (drawn_B == limits.max_response_len)
  return slots._replace(
    token_B=jnp.where(slots.active_B, tokens_B, slots.token_B),
    position_B=slots.position_B + moved_B,
    drawn_B=drawn_B,
    active_B=slots.active_B & ~ended_B,
  )
