"""The sampler's dispatch with abstract inputs, in the worst case.

In: a StudyCase of "decode" or "prefill". Out: CasePrograms with one program,
the dispatch that `rollouts/engine.py` would run. All slots are in use, and
their sequences as long as allowed; where the pages do not hold that, as long as
the pages hold. "decode" is a dispatch of all its steps, "prefill" the one step
that also computes pages of prompts. Only the host's dispatch inputs are
allocated.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kimina_jax.infra import mesh as meshes
from kimina_jax.model import paged, paged_xla, ragged_kernel
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts.device_state import (
  DeviceState,
  DispatchInputs,
  blank_inputs,
  state_shardings,
)
from kimina_jax.rollouts.pages import num_pages
from kimina_jax.rollouts.programs import DECODE_STEPS, make_programs
from kimina_jax.rollouts.resharding import decode_formats
from kimina_jax.rollouts.settings import (
  EngineSizes,
  RolloutSettings,
  engine_sizes,
)
from kimina_jax.rollouts.stops import StopRules
from kimina_jax.scale.cases import StudyCase, rollout_settings
from kimina_jax.scale.specs import (
  CasePrograms,
  DispatchFacts,
  KernelCosts,
  ProgramSpec,
  PyTree,
  abstract_array,
  abstract_weights,
  device_bytes,
  forward_flops,
  with_shardings,
)

# A response limit that is never reached.
_NO_LIMIT = 2**30


def make_sampler_programs(
  case: StudyCase, model: ModelConfig, mesh: Mesh
) -> CasePrograms:
  """The dispatch of a case; `mesh` is that of the replicas."""
  dispatch = _worst_dispatch(case)
  programs = make_programs(
    model,
    mesh,
    settings=dispatch.settings,
    sizes=dispatch.sizes,
    stop_rules=dispatch.stop_rules,
  )
  weights = abstract_weights(model, mesh, "decode", model.compute_dtype)
  weights = with_shardings(weights, decode_formats(model, mesh))
  with jax.set_mesh(mesh):
    state = jax.eval_shape(programs.start, weights)
    trip_counts = _trip_counts(dispatch)
  where = state_shardings(mesh, cache_dtype=dispatch.settings.cache_dtype)
  state, inputs = with_shardings(state, where), _inputs(dispatch)
  spec = ProgramSpec(
    case.program,
    programs.dispatch,
    (weights, state, *_from_host(inputs, mesh)),
    options={"num_slots": dispatch.sizes.num_slots},
    trip_counts=trip_counts,
    kernels=_kernels(dispatch, state),
    values={2: inputs},
  )
  return CasePrograms(
    programs=[spec],
    mesh=mesh,
    memory={
      "parameters": device_bytes(weights),
      "kv cache": device_bytes(state.cache),
    },
    model_flops=_model_flops(dispatch, model),
    tokens=dispatch.num_drawn + dispatch.num_prompt,
    dispatch=_dispatch_facts(dispatch, model, weights, state),
  )


class _WorstDispatch(NamedTuple):
  """A dispatch with all slots in use and sequences as long as they may be.

  Attributes:
    settings: how to sample.
    sizes: of a replica.
    stop_rules: when responses end.
    num_replicas: R.
    num_chunks: pages of prompts that are computed; 0 in "decode".
    num_steps: decode steps.
    sequence_len: positions of the sequence in each slot, at the last step.
    chunk_pages: int [C], number of each chunk's page in its prompt.
  """

  settings: RolloutSettings
  sizes: EngineSizes
  stop_rules: StopRules
  num_replicas: int
  num_chunks: int
  num_steps: int
  sequence_len: int
  chunk_pages: np.ndarray

  @property
  def num_drawn(self) -> int:
    """Tokens that all replicas draw."""
    return self.num_replicas * self.sizes.num_slots * self.num_steps

  @property
  def num_prompt(self) -> int:
    """Tokens of prompts that all replicas compute."""
    return self.num_replicas * self.num_chunks * self.sizes.page_size

  @property
  def chunk_keys(self) -> float:
    """Positions up to the end of a chunk, on average."""
    if not self.num_chunks:
      return 0.0
    return (float(self.chunk_pages.mean()) + 1) * self.sizes.page_size


def _worst_dispatch(case: StudyCase) -> _WorstDispatch:
  section, num_replicas = case.sections["rollouts"], case.mesh["data"]
  longest = case.sequence_len
  settings = rollout_settings(
    section, sequence_len=longest, num_slots=case.num_rows
  )
  sizes = engine_sizes(settings, num_replicas=num_replicas)
  with_chunks = case.program == "prefill"
  num_chunks = sizes.num_chunks if with_chunks else 0
  # Spread over a prompt, as its chunks are over the dispatches that compute it.
  prompt_len = min(section["max_prompt_len"], longest)
  prompt_pages = num_pages(prompt_len, sizes.page_size)
  cached = sizes.num_pages * sizes.page_size
  return _WorstDispatch(
    settings=settings,
    sizes=sizes,
    # No token ends a response: every dispatch runs all its steps.
    stop_rules=StopRules(stop_id=-1, window=settings.repetition_window),
    num_replicas=num_replicas,
    num_chunks=num_chunks,
    num_steps=1 if with_chunks else sizes.num_steps,
    sequence_len=min(longest, cached // sizes.num_slots),
    chunk_pages=np.arange(num_chunks) * prompt_pages // max(1, num_chunks),
  )


def _inputs(dispatch: _WorstDispatch) -> DispatchInputs:
  """Admits a sequence to every slot; the last step reaches `sequence_len`."""
  sizes = dispatch.sizes
  inputs = blank_inputs(
    dispatch.num_replicas, sizes, dispatch.num_chunks, dispatch.stop_rules
  )
  inputs.admitted[:, : sizes.num_slots] = True
  inputs.admission[:] = np.arange(sizes.num_running)
  inputs.position[:] = max(0, dispatch.sequence_len - dispatch.num_steps)
  inputs.max_len[:] = _NO_LIMIT
  inputs.block_table[:] = _tables(sizes.num_running, sizes)
  first_C = dispatch.chunk_pages * sizes.page_size
  positions_CO = first_C[:, None] + np.arange(sizes.page_size)
  inputs.chunk_positions[:] = positions_CO
  inputs.chunk_table[:] = _tables(dispatch.num_chunks, sizes)
  return inputs


def _tables(count: int, sizes: EngineSizes) -> np.ndarray:
  """Block tables with the pages of the pool in turn, from its start again."""
  pages = np.arange(count * sizes.table_len) % sizes.num_pages
  return pages.reshape(count, sizes.table_len)


def _trip_counts(dispatch: _WorstDispatch) -> dict[str, int]:
  """Trip counts of the loops of a dispatch whose bounds are not static.

  Those over pages exist only where no kernel attends. No two slots share a page
  here. With chunks, the smaller count of slots and chunks is that of both, as a
  lower bound must be. Page copies are few: their count hardly matters.
  """
  page_size, num_slots = dispatch.sizes.page_size, dispatch.sizes.num_slots
  pages = num_slots * num_pages(dispatch.sequence_len, page_size)
  batches, copies = math.ceil(pages / paged.pages_at_once()), dispatch.num_steps
  if dispatch.num_chunks:
    batches = copies = min(batches, int(dispatch.chunk_pages.max()) + 1)
  return {
    DECODE_STEPS: dispatch.num_steps,
    paged.PAGE_COPIES: copies,
    paged_xla.PRIVATE_PAGES: batches,
    paged_xla.SHARED_PAGES: 0,
    paged_xla.CHUNK_PAGES: batches,
  }


def _kernels(dispatch: _WorstDispatch, state: DeviceState) -> KernelCosts:
  """Cost of ragged paged attention, by the lengths of the sequences."""
  itemsize = state.cache.kv_POYH.dtype.itemsize

  def cost(shapes: Sequence[tuple[int, ...]]) -> ragged_kernel.KernelCost:
    # Lengths, pages, starts, two numbers for the kernel, queries, pool.
    (B, _), (T, N, H), (_, _, Y, _) = shapes[1], shapes[5], shapes[6]
    of_slots = T == B
    return ragged_kernel.kernel_cost(
      num_sequences=B,
      num_queries=T // B,
      num_keys=dispatch.sequence_len if of_slots else dispatch.chunk_keys,
      num_heads=N,
      key_bytes=Y * H * itemsize,
      head_dim=H,
    )

  return {ragged_kernel.NAME: cost}


def _model_flops(dispatch: _WorstDispatch, model: ModelConfig) -> float:
  drawn = forward_flops(
    model, tokens=dispatch.num_drawn, keys=dispatch.sequence_len
  )
  keys = dispatch.chunk_keys - dispatch.sizes.page_size / 2
  return drawn + forward_flops(
    model, tokens=dispatch.num_prompt, keys=keys, logits=False
  )


def _dispatch_facts(
  dispatch: _WorstDispatch,
  model: ModelConfig,
  weights: PyTree,
  state: DeviceState,
) -> DispatchFacts:
  sizes = dispatch.sizes
  cached = sizes.num_pages * sizes.page_size
  live = sizes.num_slots * dispatch.sequence_len
  position_bytes = device_bytes(state.cache.kv_POYH) // cached
  read = {**weights} if model.tied else {**weights, "embed": {}}
  keys = live + dispatch.num_chunks * dispatch.chunk_keys
  return DispatchFacts(
    steps=dispatch.num_steps,
    cached_positions=dispatch.num_replicas * cached,
    live_positions=dispatch.num_replicas * live,
    least_bytes=device_bytes(read) + int(keys * position_bytes),
  )


def _from_host(inputs: DispatchInputs, mesh: Mesh) -> tuple[PyTree, ...]:
  """The other arguments: inputs, seed, automaton of stop strings, flags."""
  flags = NamedSharding(mesh, PartitionSpec(meshes.AXES))
  return (
    jax.tree.map(lambda x: abstract_array(mesh, "R", x.shape, x.dtype), inputs),
    abstract_array(mesh, "", (), jnp.uint32),
    # Of no strings: the table depends on the tokenizer.
    abstract_array(mesh, "", (1, 1), jnp.int16),
    jax.ShapeDtypeStruct((mesh.size,), bool, sharding=flags),
  )
