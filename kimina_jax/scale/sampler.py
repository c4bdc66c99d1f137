"""The sampler's dispatch with abstract inputs, in the worst case.

In: a StudyCase of "decode" or "prefill". Out: CasePrograms with one program,
the dispatch that `rollouts/engine.py` would run. All slots are in use, and
their sequences as long as allowed; where the pages do not hold that, as long as
the pages hold.
"decode" is a dispatch of all its steps, "prefill" the one step that takes
pages of prompts along. Never allocates more than the host's orders.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kimina_jax.infra import mesh as meshes
from kimina_jax.model import paged, ragged_kernel
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts.orders import blank_orders
from kimina_jax.rollouts.pages import num_pages, pages_of_cache
from kimina_jax.rollouts.programs import Programs, make_programs
from kimina_jax.rollouts.state import (
  Limits,
  Orders,
  Sizes,
  State,
  state_shardings,
)
from kimina_jax.rollouts.stops import Rules
from kimina_jax.rollouts.weights import decode_formats
from kimina_jax.scale.cases import StudyCase
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

# More tokens than any response has.
_NO_END = 2**30


def make_sampler_programs(
  case: StudyCase, model: ModelConfig, mesh: Mesh
) -> CasePrograms:
  """The dispatch of a case; `mesh` is that of the replicas."""
  shape = _shape(case)
  programs = make_programs(model, mesh, limits=shape.limits, sizes=shape.sizes)
  weights = abstract_weights(model, mesh, "decode", model.compute_dtype)
  weights = with_shardings(weights, decode_formats(model, mesh))
  with jax.set_mesh(mesh):
    state = jax.eval_shape(programs.start, weights)
    trips = _trips(shape)
  where = state_shardings(mesh, limits=shape.limits, sizes=shape.sizes)
  state, orders = with_shardings(state, where), _orders(shape)
  spec = ProgramSpec(
    case.program,
    programs.dispatch,
    (
      _prepared(programs, weights, mesh),
      state,
      *_from_host(orders, mesh),
    ),
    options={"num_lanes": shape.num_lanes},
    while_trips=trips,
    kernels=_kernels(shape, state),
    values={2: orders},
  )
  return CasePrograms(
    programs=[spec],
    mesh=mesh,
    memory={
      "parameters": device_bytes(weights),
      "kv cache": device_bytes(state.cache),
    },
    model_flops=_model_flops(shape, model),
    tokens=shape.num_drawn + shape.num_prompt,
    dispatch=_dispatch_facts(shape, model, weights, state),
  )


class _Shape(NamedTuple):
  """Of a dispatch.

  Attributes:
    sizes: of the state.
    limits: how to draw.
    table_len: pages of the longest sequence.
    num_lanes: of a replica.
    num_chunks: pages of prompts that go along.
    num_steps: of the dispatch.
    lane_keys: positions of each lane's sequence, at the last step.
    chunk_pages: which page of its prompt each chunk is.
  """

  sizes: Sizes
  limits: Limits
  table_len: int
  num_lanes: int
  num_chunks: int
  num_steps: int
  lane_keys: int
  chunk_pages: np.ndarray

  @property
  def num_drawn(self) -> int:
    """Tokens that all replicas draw."""
    return self.sizes.num_replicas * self.num_lanes * self.num_steps

  @property
  def num_prompt(self) -> int:
    """Tokens of prompts that all replicas compute."""
    return self.sizes.num_replicas * self.num_chunks * self.sizes.page_size

  @property
  def chunk_keys(self) -> float:
    """Positions up to the end of a chunk, on average."""
    if not self.num_chunks:
      return 0.0
    return (float(self.chunk_pages.mean()) + 1) * self.sizes.page_size


def _shape(case: StudyCase) -> _Shape:
  section = case.sections["rollouts"]
  page_size, num_replicas = section["page_size"], case.mesh["data"]
  num_lanes, longest = case.num_rows // num_replicas, case.sequence_len
  sizes = Sizes(
    num_replicas=num_replicas,
    num_residents=2 * num_lanes,
    num_pages=pages_of_cache(
      section["cache_tokens"],
      page_size=page_size,
      longest=longest,
      num_slots=num_lanes,
    ),
    page_size=page_size,
    cache_dtype=section["cache_dtype"],
  )
  limits = Limits(
    **{name: section[name] for name in ("temperature", "top_p", "top_k")},
    min_p=section["min_p"],
    # No token ends a response: every dispatch runs all its steps.
    rules=Rules(stop_id=-1, window=section["repetition_window"]),
    num_steps=section["steps_per_dispatch"],
  )
  with_chunks = case.program == "prefill"
  num_chunks = max(1, section["chunk_tokens"] // page_size) * with_chunks
  # Spread over a prompt, as its chunks are over the dispatches that take it.
  prompt_pages = num_pages(min(section["max_prompt_len"], longest), page_size)
  return _Shape(
    sizes=sizes,
    limits=limits,
    table_len=num_pages(longest, page_size),
    num_lanes=num_lanes,
    num_chunks=num_chunks,
    num_steps=1 if with_chunks else limits.num_steps,
    lane_keys=min(longest, sizes.num_pages * page_size // num_lanes),
    chunk_pages=np.arange(num_chunks) * prompt_pages // max(1, num_chunks),
  )


def _orders(shape: _Shape) -> Orders:
  """Every lane gets a sequence, whose last step reaches `lane_keys`."""
  sizes, J = shape.sizes, shape.table_len
  orders = blank_orders(
    *(sizes.num_replicas, sizes, J, shape.num_chunks, shape.limits.rules)
  )
  orders.new_ER[:, : shape.num_lanes] = True
  orders.serial_ER[:] = np.arange(sizes.num_residents)
  orders.position_ER[:] = max(0, shape.lane_keys - shape.num_steps)
  orders.max_len_ER[:] = _NO_END
  orders.table_ERJ[:] = _tables(sizes.num_residents, J, sizes.num_pages)
  first_Q = shape.chunk_pages * sizes.page_size
  positions_QS = first_Q[:, None] + np.arange(sizes.page_size)
  orders.chunk_positions_EQS[:] = positions_QS
  orders.chunks_EQJ[:] = _tables(shape.num_chunks, J, sizes.num_pages)
  return orders


def _tables(count: int, table_len: int, num_pages: int) -> np.ndarray:
  """One after the other through the pool, and again from its start."""
  return np.arange(count * table_len).reshape(count, table_len) % num_pages


def _trips(shape: _Shape) -> tuple[int, ...]:
  """Steps, then looks at some pages, where no kernel attends.

  Chunks and lanes look side by side: the fewer of the two, as a bound must.
  No two lanes share a page here, so that what is further in never runs.
  """
  pages = shape.num_lanes * num_pages(shape.lane_keys, shape.sizes.page_size)
  looks = math.ceil(pages / paged.pages_at_once())
  if shape.num_chunks:
    return min(looks, int(shape.chunk_pages.max()) + 1), 0
  return shape.num_steps, looks, 0


def _kernels(shape: _Shape, state: State) -> KernelCosts:
  """Ragged paged attention: as long as the sequences are."""
  itemsize = state.cache.kv_PSCH.dtype.itemsize

  def work(shapes: Sequence[tuple[int, ...]]) -> ragged_kernel.Work:
    # Lengths, pages, starts, two numbers for the kernel, queries, pool.
    (Q, _), (T, N, H), (_, _, C, _) = shapes[1], shapes[5], shapes[6]
    return ragged_kernel.work(
      num_sequences=Q,
      num_queries=T // Q,
      num_keys=shape.lane_keys if T == Q else shape.chunk_keys,
      num_heads=N,
      key_bytes=C * H * itemsize,
      head_dim=H,
    )

  return {ragged_kernel.NAME: work}


def _model_flops(shape: _Shape, model: ModelConfig) -> float:
  drawn = forward_flops(model, tokens=shape.num_drawn, keys=shape.lane_keys)
  keys = shape.chunk_keys - shape.sizes.page_size / 2
  return drawn + forward_flops(
    model, tokens=shape.num_prompt, keys=keys, logits=False
  )


def _dispatch_facts(
  shape: _Shape, model: ModelConfig, weights: PyTree, state: State
) -> DispatchFacts:
  sizes = shape.sizes
  live = shape.num_lanes * shape.lane_keys
  position_bytes = device_bytes(state.cache.kv_PSCH) // (
    sizes.num_pages * sizes.page_size
  )
  read = {**weights} if model.tied else {**weights, "embed": {}}
  keys = live + shape.num_chunks * shape.chunk_keys
  return DispatchFacts(
    steps=shape.num_steps,
    cached_positions=sizes.num_replicas * sizes.num_pages * sizes.page_size,
    live_positions=sizes.num_replicas * live,
    least_bytes=device_bytes(read) + int(keys * position_bytes),
  )


def _prepared(programs: Programs, weights: PyTree, mesh: Mesh) -> PyTree:
  """Weights as the devices want them; where that is a copy, it is whole."""
  with jax.set_mesh(mesh):
    prepared = jax.eval_shape(programs.prepare, weights)
  if jax.tree.structure(prepared) == jax.tree.structure(weights):
    return weights
  everywhere = meshes.sharding(mesh, "", meshes.ACTIVATIONS["decode"])
  return with_shardings(prepared, jax.tree.map(lambda _: everywhere, prepared))


def _from_host(orders: Orders, mesh: Mesh) -> tuple[PyTree, ...]:
  """What else a dispatch takes: orders, seed, stop strings, flags."""
  flags = NamedSharding(mesh, PartitionSpec(meshes.AXES))
  return (
    jax.tree.map(lambda x: abstract_array(mesh, "B", x.shape, x.dtype), orders),
    abstract_array(mesh, "", (), jnp.uint32),
    # Of no strings: the table depends on the tokenizer.
    abstract_array(mesh, "", (1, 1), jnp.int16),
    jax.ShapeDtypeStruct((mesh.size,), bool, sharding=flags),
  )
