"""State of the sampler on the devices, and inputs and outputs of a dispatch.

In: what the schedulers planned for the next dispatch. Out: records of arrays.
DispatchInputs go from the host to the devices, DispatchOutputs come back, and
DeviceState stays there between two dispatches. Scheduling is in scheduler.py.

Fields have no shape suffix, as the same records are used with and without
leading dims. Over all replicas they are [R, Q, …] (running sequences); inside
`jax.vmap` over replicas, and on the host for one replica, [Q, …]; of the
sequences in the slots, [R, B, …] or [B, …].
"""

import dataclasses
from collections import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.kv_quantization import is_quantized
from kimina_jax.model.paged import PagedCache
from kimina_jax.rollouts import stops
from kimina_jax.rollouts.sequence import PrefillPages, Sequence
from kimina_jax.rollouts.settings import EngineSizes
from kimina_jax.rollouts.stops import StopAutomaton, StopRules, StopState

# Code of a place of the running set without a sequence. The code of a sequence
# is an index of stops.STOPS, 0 while it is unfinished.
EMPTY = -1


@dataclasses.dataclass(frozen=True)
class DispatchPlan:
  """The plan of one replica's next dispatch, see scheduler.py.

  Attributes:
    admitted: new running sequences, by their index in the running set.
    removed: indices of sequences that leave the running set.
    block_tables: pages of every running sequence, by index.
    copies: pages to copy, as (source, target).
    chunks: pages to compute, as (number of the page in its sequence, the
      sequence's prefill pages).
  """

  admitted: dict[int, Sequence]
  removed: list[int]
  block_tables: dict[int, list[int]]
  copies: list[tuple[int, int]]
  chunks: list[tuple[int, PrefillPages]]


class RunningSequences(NamedTuple):
  """The running set: Q sequences per replica that hold pages.

  All their tokens but the last one are in the KV cache. The next decode step
  feeds that token and draws its successor.

  Attributes:
    key: uint32 [Q, 2], data of the key from which its draws are folded.
    admission: int32 [Q], ascending in the order of admission.
    token: int32 [Q], the last token.
    position: int32 [Q], position of that token.
    num_drawn: int32 [Q], tokens of the response so far.
    max_len: int32 [Q], largest number of response tokens.
    code: int32 [Q], 0 while unfinished, an index of stops.STOPS after the
      end, or EMPTY.
    stop_state: state of the stop conditions.
  """

  key: Any
  admission: Any
  token: Any
  position: Any
  num_drawn: Any
  max_len: Any
  code: Any
  stop_state: StopState


class DeviceState(NamedTuple):
  """State that stays on the devices between two dispatches."""

  cache: PagedCache
  running: RunningSequences


class DispatchInputs(NamedTuple):
  """DispatchPlans as arrays.

  Attributes:
    admitted: bool [Q], a new sequence takes this place of the running set.
    removed: bool [Q], the sequence leaves the running set.
    stream: uint32 [Q, 2], iteration and index of the rollout, which select
      its stream of random numbers.
    admission, token, position, num_drawn, max_len, stop_state: of the admitted
      sequences, as in RunningSequences.
    block_table: int32 [Q, J], pages of every running sequence.
    copies: int32 [Q, 2], source and target of pages to copy before anything
      else ...
    num_copies: int32 [], ... and how many of them count.
    chunk_tokens: int32 [C, O], tokens to prefill, a page per chunk.
    chunk_positions: int32 [C, O], their positions; -1 where there is no token.
    chunk_table: int32 [C, J], pages of the sequence of each chunk.
  """

  admitted: Any
  removed: Any
  stream: Any
  admission: Any
  token: Any
  position: Any
  num_drawn: Any
  max_len: Any
  stop_state: StopState
  block_table: Any
  copies: Any
  num_copies: Any
  chunk_tokens: Any
  chunk_positions: Any
  chunk_table: Any


class DispatchOutputs(NamedTuple):
  """The tokens that one dispatch drew.

  Attributes:
    tokens: int32 [T, R, B], or [T, B] of one replica.
    logps: float32, as tokens, under the distribution drawn from.
    model_logps: float32, as tokens, under the model.
    sequence: int32, as tokens: index in the running set of the sequence that
      drew the token; Q where none did.
    code: int32 [R, Q], as in RunningSequences, after the dispatch.
    stop_requested: bool [], whether a process was asked to stop.
  """

  tokens: Any
  logps: Any
  model_logps: Any
  sequence: Any
  code: Any
  stop_requested: Any

  def of_replica(self, replica: int) -> "DispatchOutputs":
    """The outputs of one replica, without the dim R."""
    return DispatchOutputs(
      tokens=self.tokens[:, replica],
      logps=self.logps[:, replica],
      model_logps=self.model_logps[:, replica],
      sequence=self.sequence[:, replica],
      code=self.code[replica],
      stop_requested=self.stop_requested,
    )


def empty_running(
  num_replicas: int, sizes: EngineSizes, stop_rules: StopRules
) -> RunningSequences:
  """Running sets without a sequence."""
  R, Q = num_replicas, sizes.num_running
  zeros_RQ = jnp.zeros((R, Q), jnp.int32)
  stop_state = stops.initial_state(R * Q, stop_rules)
  return RunningSequences(
    key=jnp.zeros((R, Q, 2), jnp.uint32),
    admission=zeros_RQ,
    token=zeros_RQ,
    position=zeros_RQ,
    num_drawn=zeros_RQ,
    max_len=zeros_RQ,
    code=zeros_RQ + EMPTY,
    stop_state=jax.tree.map(
      lambda x: x.reshape(R, Q, *x.shape[1:]), stop_state
    ),
  )


def state_shardings(
  mesh: jax.sharding.Mesh, *, cache_dtype: str
) -> DeviceState:
  """Shardings of a DeviceState: pages by replica, kv heads over `tensor`.

  Args:
    mesh: of the replicas.
    cache_dtype: of kv_quantization.CACHE_DTYPES.
  """
  table = meshes.ACTIVATIONS["decode"]
  by_replica = meshes.sharding(mesh, "R", table)
  scale = meshes.sharding(mesh, "LYH", table)
  fields: dict[str, Any] = dict.fromkeys(RunningSequences._fields, by_replica)
  fields["stop_state"] = StopState(*[by_replica] * len(StopState._fields))
  return DeviceState(
    PagedCache(
      meshes.sharding(mesh, "POYH", table),
      scale if is_quantized(cache_dtype) else None,
    ),
    RunningSequences(**fields),
  )


def make_inputs(
  plans: abc.Sequence[DispatchPlan],
  *,
  sizes: EngineSizes,
  num_chunks: int,
  stop_rules: StopRules,
  automaton: StopAutomaton,
) -> DispatchInputs:
  """The plans of all replicas as NumPy arrays.

  Args:
    plans: of each replica.
    sizes: of a replica.
    num_chunks: 0, or at least as many chunks as a plan has. Each number is a
      shape that the dispatch is compiled for.
    stop_rules: of the ends of responses.
    automaton: finds stop strings.
  """
  inputs = blank_inputs(len(plans), sizes, num_chunks, stop_rules)
  for replica, plan in enumerate(plans):
    inputs.removed[replica, plan.removed] = True
    for index, sequence in plan.admitted.items():
      inputs.admitted[replica, index] = True
      state = stops.replay(
        sequence.response, rules=stop_rules, automaton=automaton
      )
      _write_sequence(inputs, (replica, index), sequence, state)
    for index, pages in plan.block_tables.items():
      inputs.block_table[replica, index, : len(pages)] = pages
    inputs.num_copies[replica] = len(plan.copies)
    for place, copy in enumerate(plan.copies):
      inputs.copies[replica, place] = copy
    for place, (page, prefill) in enumerate(plan.chunks):
      first = page * sizes.page_size
      tokens = prefill.tokens[first : first + sizes.page_size]
      at = (replica, place, slice(len(tokens)))
      inputs.chunk_tokens[at] = tokens
      inputs.chunk_positions[at] = first + np.arange(len(tokens))
      inputs.chunk_table[replica, place, : len(prefill.pages)] = prefill.pages
  return inputs


def _write_sequence(
  inputs: DispatchInputs,
  at: tuple[int, int],
  sequence: Sequence,
  state: StopState,
) -> None:
  """Writes an admitted sequence to its place (replica, index)."""
  inputs.stream[at] = (sequence.iteration, sequence.index)
  inputs.admission[at] = sequence.admission
  inputs.token[at] = sequence.tokens[-1]
  inputs.position[at] = sequence.position
  inputs.num_drawn[at] = sequence.num_drawn
  inputs.max_len[at] = sequence.max_len
  for array, value in zip(inputs.stop_state, state, strict=True):
    array[at] = value


def blank_inputs(
  num_replicas: int, sizes: EngineSizes, num_chunks: int, stop_rules: StopRules
) -> DispatchInputs:
  """Inputs that change nothing, of the shapes that `make_inputs` gives."""
  R, Q, J = num_replicas, sizes.num_running, sizes.table_len
  chunks = (R, num_chunks, sizes.page_size)

  def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int32)

  return DispatchInputs(
    admitted=np.zeros((R, Q), bool),
    removed=np.zeros((R, Q), bool),
    stream=np.zeros((R, Q, 2), np.uint32),
    admission=zeros(R, Q),
    token=zeros(R, Q),
    position=zeros(R, Q),
    num_drawn=zeros(R, Q),
    max_len=np.ones((R, Q), np.int32),
    stop_state=StopState(
      automaton_state=zeros(R, Q),
      recent=zeros(R, Q, stop_rules.num_periods),
      runs=zeros(R, Q, stop_rules.num_periods),
    ),
    block_table=zeros(R, Q, J),
    copies=zeros(R, Q, 2),
    num_copies=zeros(R),
    chunk_tokens=zeros(*chunks),
    chunk_positions=np.full(chunks, -1, np.int32),
    chunk_table=zeros(R, num_chunks, J),
  )
