"""The device programs of the sampler: start and dispatch.

In: weights, the state of R rollouts per replica that have pages, and the
host's orders. Out: the next state and a Trace for the host. Nothing here talks
to the host or knows of time; log lines run when JAX traces, so once per
compilation; state.py explains the letters.

A dispatch draws up to T tokens in each lane. A lane whose rollout ends takes
the next resident one at the next step, without asking the host. With chunks,
pages of prompts to come, a dispatch is one step, in which they go along.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.cpu_weights import is_large, take_apart
from kimina_jax.model.kv_quantization import kv_scales
from kimina_jax.model.paged import (
  PagedCache,
  Ragged,
  copy_pages,
  init_pages,
)
from kimina_jax.model.transformer import forward, unembed
from kimina_jax.rollouts import lanes
from kimina_jax.rollouts.sampling import Draw, sample
from kimina_jax.rollouts.state import (
  Limits,
  Orders,
  Residents,
  Sizes,
  State,
  Trace,
  no_residents,
  state_shardings,
)


class Programs(NamedTuple):
  """The compiled three; call and lower them inside `jax.set_mesh`.

  Attributes:
    prepare: params -> params as a dispatch wants them on these devices, which
      may be another copy.
    start: params -> State.
    dispatch: (params, state, orders, seed, table_QV, asked_X, num_lanes=…) ->
      State and Trace; the state is donated, num_lanes is static.
  """

  prepare: Callable[..., Any]
  start: Callable[..., State]
  dispatch: Callable[..., tuple[State, Trace]]


def make_programs(
  config: ModelConfig,
  mesh: jax.sharding.Mesh,
  *,
  limits: Limits,
  sizes: Sizes,
) -> Programs:
  """Names the programs and where their results lie.

  Args:
    config: of the model.
    mesh: of the replicas, which data and fsdp count; heads over tensor.
    limits: how to draw, when to stop.
    sizes: of the state.
  """
  state = state_shardings(mesh, limits=limits, sizes=sizes)
  everywhere = meshes.sharding(mesh, "", meshes.ACTIVATIONS["decode"])
  return Programs(
    prepare=_make_prepare(config, mesh),
    start=jax.jit(
      functools.partial(start, config=config, limits=limits, sizes=sizes),
      out_shardings=state,
    ),
    dispatch=jax.jit(
      functools.partial(dispatch, config=config, limits=limits),
      static_argnames="num_lanes",
      donate_argnums=1,
      out_shardings=(state, everywhere),
    ),
  )


def _make_prepare(
  config: ModelConfig, mesh: jax.sharding.Mesh
) -> Callable[..., Any]:
  """CPUs read large weights in another order; else they are as they are."""
  on_cpu = mesh.devices.flat[0].platform == "cpu"
  if not on_cpu or mesh.shape["tensor"] > 1 or not is_large(config):
    return lambda params: params
  everywhere = meshes.sharding(mesh, "", meshes.ACTIVATIONS["decode"])
  return jax.jit(
    functools.partial(take_apart, config=config), out_shardings=everywhere
  )


def start(
  params: dict[str, Any], *, config: ModelConfig, limits: Limits, sizes: Sizes
) -> State:
  """Nobody resident, and pages of zeros."""
  cache = init_pages(
    config,
    num_pages=sizes.num_replicas * sizes.num_pages,
    page_size=sizes.page_size,
    dtype=sizes.cache_dtype,
    scale_LCH=kv_scales(params, config, sizes.cache_dtype),
  )
  return State(cache, no_residents(limits=limits, sizes=sizes))


def dispatch(
  params: dict[str, Any],
  state: State,
  orders: Orders,
  seed: jax.Array,
  table_QV: jax.Array,
  asked_X: jax.Array,
  *,
  num_lanes: int,
  config: ModelConfig,
  limits: Limits,
) -> tuple[State, Trace]:
  """Carries out the orders, then draws for T steps; with chunks, for one.

  Token t of row r of iteration i is drawn with fold_in(fold_in(fold_in(
  key(seed), i), r), t), whatever lane r sits in and whoever sits beside it.

  Args:
    params: in decode layout, prepared.
    state: donated.
    orders: of the host.
    seed: uint32 [].
    table_QV: of the automaton that finds stop strings.
    asked_X: bool, of each device, whether its process was asked to stop.
    num_lanes: static, B.
    config: static.
    limits: static.
  """
  E, R = orders.new_ER.shape
  num_chunks = orders.chunks_EQJ.shape[1]
  num_steps = 1 if num_chunks else limits.num_steps
  logging.info(
    "compiling a dispatch: %d replicas × %d lanes × %d steps, %d chunks",
    *(E, num_lanes, num_steps, num_chunks),
  )
  residents = jax.vmap(lanes.enter, (0, 0, None))(state.residents, orders, seed)
  seats = jax.vmap(functools.partial(lanes.first_lanes, num_lanes))(residents)
  cache = copy_pages(
    state.cache, orders.copies_ER2, orders.num_copies_E, config=config
  )
  nobody_TEB = jnp.full((num_steps, E, num_lanes), R, jnp.int32)
  zeros_TEB = jnp.zeros(nobody_TEB.shape, jnp.float32)
  trace = Trace(
    *(nobody_TEB, zeros_TEB, zeros_TEB, nobody_TEB, residents.code_ER),
    asked=jnp.any(asked_X),
  )
  step = functools.partial(
    _step, params, orders, table_QV, config=config, limits=limits
  )
  work = _Work(jnp.int32(0), cache, residents, seats, trace)
  if num_chunks:
    work = step(work)
  else:
    work = jax.lax.while_loop(
      lambda work: (work.t < num_steps) & jnp.any(work.seats.resident_EB < R),
      step,
      work,
    )
  trace = work.trace._replace(code_ER=work.residents.code_ER)
  return State(work.cache, work.residents), trace


class _Work(NamedTuple):
  """A dispatch halfway."""

  t: jax.Array
  cache: PagedCache
  residents: Residents
  seats: lanes.Lanes
  trace: Trace


def _step(
  params: dict[str, Any],
  orders: Orders,
  table_QV: jax.Array,
  work: _Work,
  *,
  config: ModelConfig,
  limits: Limits,
) -> _Work:
  """Feeds the token of each lane, and the chunks; draws, records, refills."""
  t, cache, residents, seats, trace = work
  now = jax.vmap(lanes.pick)(residents, seats.resident_EB)
  E, B = seats.resident_EB.shape
  idle_EB = seats.resident_EB == residents.code_ER.shape[1]
  lanes_EBJ = jax.vmap(lanes.pick)(orders.table_ERJ, seats.resident_EB)
  chunks = (orders.chunk_tokens_EQS, orders.chunk_positions_EQS)
  tokens_ET, positions_ET = (
    jnp.concatenate((of_lanes_EB, of_chunks_EQS.reshape(E, -1)), axis=1)
    for of_lanes_EB, of_chunks_EQS in zip(
      (now.token_ER, jnp.where(idle_EB, -1, now.position_ER)),
      chunks,
      strict=True,
    )
  )
  hidden_ETD, cache = forward(
    params,
    config,
    tokens_ET,
    positions_ET,
    cache=cache,
    ragged=Ragged(lanes_EBJ, orders.chunks_EQJ),
    layout="decode",
  )
  logits_EBV = unembed(params, config, hidden_ETD[:, :B])
  draw_EB = _draw(now, logits_EBV, limits)
  advance = functools.partial(lanes.advance, limits.rules, table_QV)
  residents, seated = jax.vmap(advance)(residents, seats, now, draw_EB.tokens_B)
  drawn = (*draw_EB, seats.resident_EB)
  records = (x.at[t].set(y) for x, y in zip(trace[:4], drawn, strict=True))
  trace = Trace(*records, *trace[4:])
  return _Work(t + 1, cache, residents, seated, trace)


def _draw(now: Residents, logits_EBV: jax.Array, limits: Limits) -> Draw:
  E, B, V = logits_EBV.shape
  keys_B = jax.random.wrap_key_data(now.key_ER2.reshape(E * B, 2))
  draw_B = sample(
    jax.vmap(jax.random.fold_in)(keys_B, now.drawn_ER.reshape(E * B)),
    logits_EBV.reshape(E * B, V),
    temperature=limits.temperature,
    top_p=limits.top_p,
    top_k=limits.top_k,
    min_p=limits.min_p,
  )
  return jax.tree.map(lambda x_B: x_B.reshape(E, B), draw_B)
