"""Device programs of the sampler: `start` and `dispatch`.

In: weights, the DeviceState and the DispatchInputs of the host. Out: the next
state and DispatchOutputs. The host is not involved while a program runs; log
lines are written when JAX traces, so once per compilation.

A dispatch runs T decode steps in the slots of all replicas. A slot whose
sequence ends takes the next running sequence at the next step. A dispatch with
prefill chunks is one step, which computes pages of prompts along with the
tokens of the slots (chunked prefill).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.kv_quantization import kv_scales
from kimina_jax.model.paged import (
  BlockTables,
  PagedCache,
  copy_pages,
  init_pages,
)
from kimina_jax.model.transformer import forward, unembed
from kimina_jax.rollouts import slots
from kimina_jax.rollouts.device_state import (
  DeviceState,
  DispatchInputs,
  DispatchOutputs,
  RunningSequences,
  empty_running,
  state_shardings,
)
from kimina_jax.rollouts.sampling import Draw, sample
from kimina_jax.rollouts.settings import EngineSizes, RolloutSettings
from kimina_jax.rollouts.stops import StopRules

# `jax.named_scope` of the loop over decode steps. Its number of iterations
# depends on the sequences, so that scale/ has to state it by this name.
DECODE_STEPS = "decode_steps"


class SamplerPrograms(NamedTuple):
  """The compiled programs; call and lower them inside `jax.set_mesh`.

  Attributes:
    start: params -> DeviceState.
    dispatch: (params, state, inputs, seed, table_AV, stop_requested_X,
      num_slots=…) -> DeviceState and DispatchOutputs; the state is donated,
      num_slots is static.
  """

  start: Callable[..., DeviceState]
  dispatch: Callable[..., tuple[DeviceState, DispatchOutputs]]


def make_programs(
  config: ModelConfig,
  mesh: jax.sharding.Mesh,
  *,
  settings: RolloutSettings,
  sizes: EngineSizes,
  stop_rules: StopRules,
) -> SamplerPrograms:
  """Jits the programs, with the shardings of their results.

  Args:
    config: of the model.
    mesh: of the replicas: `data` of them, each of `tensor` devices.
    settings: how to sample.
    sizes: of a replica.
    stop_rules: when responses end.
  """
  state = state_shardings(mesh, cache_dtype=settings.cache_dtype)
  replicated = meshes.sharding(mesh, "", meshes.ACTIVATIONS["decode"])
  return SamplerPrograms(
    start=jax.jit(
      functools.partial(
        start,
        num_replicas=mesh.shape["data"],
        config=config,
        cache_dtype=settings.cache_dtype,
        sizes=sizes,
        stop_rules=stop_rules,
      ),
      out_shardings=state,
    ),
    dispatch=jax.jit(
      functools.partial(
        dispatch, config=config, settings=settings, stop_rules=stop_rules
      ),
      static_argnames="num_slots",
      donate_argnums=1,
      out_shardings=(state, replicated),
    ),
  )


def start(
  params: dict[str, Any],
  *,
  num_replicas: int,
  config: ModelConfig,
  cache_dtype: str,
  sizes: EngineSizes,
  stop_rules: StopRules,
) -> DeviceState:
  """Empty running sets, and pages of zeros."""
  cache = init_pages(
    config,
    num_pages=num_replicas * sizes.num_pages,
    page_size=sizes.page_size,
    dtype=cache_dtype,
    scale_LYH=kv_scales(params, config, cache_dtype),
  )
  return DeviceState(cache, empty_running(num_replicas, sizes, stop_rules))


class _Progress(NamedTuple):
  """Loop state of a dispatch: `step` decode steps are done."""

  step: jax.Array
  cache: PagedCache
  running: RunningSequences
  slots: slots.SlotAssignment
  outputs: DispatchOutputs


def dispatch(
  params: dict[str, Any],
  state: DeviceState,
  inputs: DispatchInputs,
  seed: jax.Array,
  table_AV: jax.Array,
  stop_requested_X: jax.Array,
  *,
  num_slots: int,
  config: ModelConfig,
  settings: RolloutSettings,
  stop_rules: StopRules,
) -> tuple[DeviceState, DispatchOutputs]:
  """Applies the inputs, then runs T decode steps; with chunks, one.

  Token t of the rollout of index n of iteration i is drawn with the key
  fold_in(fold_in(fold_in(key(seed), i), n), t), whatever its slot and the other
  sequences are.

  Args:
    params: in decode layout.
    state: donated.
    inputs: of the host.
    seed: uint32 [].
    table_AV: of the automaton that finds stop strings.
    stop_requested_X: bool, of each device, whether its process was asked to
      stop.
    num_slots: static, slots of a replica that are used.
    config: static.
    settings: static.
    stop_rules: static.
  """
  R, Q = inputs.admitted.shape
  num_chunks = inputs.chunk_table.shape[1]
  num_steps = 1 if num_chunks else settings.steps_per_dispatch
  logging.info(
    "compiling a dispatch: %d replicas × %d slots × %d steps, %d chunks",
    R,
    num_slots,
    num_steps,
    num_chunks,
  )
  running = jax.vmap(slots.apply_admissions, (0, 0, None))(
    state.running, inputs, seed
  )
  assign = functools.partial(slots.assign_slots, num_slots)
  cache = copy_pages(
    state.cache, inputs.copies, inputs.num_copies, config=config
  )
  progress = _Progress(
    step=jnp.int32(0),
    cache=cache,
    running=running,
    slots=jax.vmap(assign)(running),
    outputs=_empty_outputs(
      num_steps, num_slots, running, jnp.any(stop_requested_X)
    ),
  )
  run_step = functools.partial(
    _decode_step,
    params,
    inputs,
    table_AV,
    config=config,
    settings=settings,
    stop_rules=stop_rules,
  )

  def is_unfinished(progress: _Progress) -> jax.Array:
    is_any = jnp.any(progress.slots.sequence < Q)
    return (progress.step < num_steps) & is_any

  if num_chunks:
    progress = run_step(progress)
  else:
    with jax.named_scope(DECODE_STEPS):
      progress = jax.lax.while_loop(is_unfinished, run_step, progress)
  outputs = progress.outputs._replace(code=progress.running.code)
  return DeviceState(progress.cache, progress.running), outputs


def _empty_outputs(
  num_steps: int,
  num_slots: int,
  running: RunningSequences,
  stop_requested: jax.Array,
) -> DispatchOutputs:
  """Outputs of a dispatch in which no slot has drawn yet."""
  R, Q = running.code.shape
  none_TRB = jnp.full((num_steps, R, num_slots), Q, jnp.int32)
  zeros_TRB = jnp.zeros(none_TRB.shape, jnp.float32)
  return DispatchOutputs(
    tokens=none_TRB,
    logps=zeros_TRB,
    model_logps=zeros_TRB,
    sequence=none_TRB,
    code=running.code,
    stop_requested=stop_requested,
  )


def _decode_step(
  params: dict[str, Any],
  inputs: DispatchInputs,
  table_AV: jax.Array,
  progress: _Progress,
  *,
  config: ModelConfig,
  settings: RolloutSettings,
  stop_rules: StopRules,
) -> _Progress:
  """Feeds the slots and chunks, draws, records the tokens, refills slots."""
  step, cache, running, assignment, outputs = progress
  current = jax.vmap(slots.take)(running, assignment.sequence)
  R, B = assignment.sequence.shape
  is_idle_RB = assignment.sequence == running.code.shape[1]
  table_RBJ = jax.vmap(slots.take)(inputs.block_table, assignment.sequence)
  positions_RB = jnp.where(is_idle_RB, -1, current.position)
  # The tokens of a replica are one row of the forward pass.
  tokens_RT = jnp.concatenate(
    (current.token, inputs.chunk_tokens.reshape(R, -1)), axis=1
  )
  positions_RT = jnp.concatenate(
    (positions_RB, inputs.chunk_positions.reshape(R, -1)), axis=1
  )
  hidden_RTD, new_cache = forward(
    params,
    config,
    tokens_RT,
    positions_RT,
    cache=cache,
    block_tables=BlockTables(table_RBJ, inputs.chunk_table),
    layout="decode",
  )
  assert new_cache is not None  # as forward was given one
  logits_RBV = unembed(params, config, hidden_RTD[:, :B])
  draw = _draw(current, logits_RBV, settings)
  refill = functools.partial(slots.refill_slots, stop_rules, table_AV)
  running, refilled = jax.vmap(refill)(
    running, assignment, current, draw.tokens
  )
  outputs = outputs._replace(
    tokens=outputs.tokens.at[step].set(draw.tokens),
    logps=outputs.logps.at[step].set(draw.logps),
    model_logps=outputs.model_logps.at[step].set(draw.model_logps),
    sequence=outputs.sequence.at[step].set(assignment.sequence),
  )
  return _Progress(step + 1, new_cache, running, refilled, outputs)


def _draw(
  current: RunningSequences, logits_RBV: jax.Array, settings: RolloutSettings
) -> Draw:
  """A token for each slot of each replica: a Draw of arrays [R, B]."""
  R, B, V = logits_RBV.shape
  keys_B = jax.random.wrap_key_data(current.key.reshape(R * B, 2))
  draw = sample(
    jax.vmap(jax.random.fold_in)(keys_B, current.num_drawn.reshape(R * B)),
    logits_RBV.reshape(R * B, V),
    temperature=settings.temperature,
    top_p=settings.top_p,
    top_k=settings.top_k,
    min_p=settings.min_p,
  )
  return jax.tree.map(lambda x: x.reshape(R, B), draw)
