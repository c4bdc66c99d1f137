"""Assignment of running sequences to decode slots, on the device.

In: the running set of one replica, and what its slots drew. Out: the running
set and the assignment after that. A slot whose sequence ends takes the next
running sequence at once, without the host. All functions are of one replica;
programs.py maps them over R. They never run the model.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.rollouts import stops
from kimina_jax.rollouts.device_state import (
  EMPTY,
  DispatchInputs,
  RunningSequences,
)
from kimina_jax.rollouts.stops import StopRules


class SlotAssignment(NamedTuple):
  """Assignment of running sequences to slots.

  Attributes:
    sequence: int32 [B], index in the running set; Q is none.
    queue: int32 [Q], indices of the running set, unfinished sequences first,
      in order of admission.
    num_unfinished: int32 [], how many of the queue are unfinished at the
      beginning of the dispatch.
    next: int32 [], place in the queue of the next sequence without a slot.
  """

  sequence: jax.Array
  queue: jax.Array
  num_unfinished: jax.Array
  next: jax.Array


def apply_admissions(
  running: RunningSequences, inputs: DispatchInputs, seed: jax.Array
) -> RunningSequences:
  """Applies admissions and removals to the running set."""
  key = jax.random.key(seed)
  fold_in = jax.vmap(jax.random.fold_in)
  keys_Q = jax.vmap(jax.random.fold_in, (None, 0))(key, inputs.stream[:, 0])
  keys_Q = fold_in(keys_Q, inputs.stream[:, 1])
  admitted = RunningSequences(
    key=jax.random.key_data(keys_Q),
    admission=inputs.admission,
    token=inputs.token,
    position=inputs.position,
    num_drawn=inputs.num_drawn,
    max_len=inputs.max_len,
    code=jnp.zeros_like(running.code),
    stop_state=inputs.stop_state,
  )
  running = running._replace(
    code=jnp.where(inputs.removed, EMPTY, running.code)
  )

  def choose(new: jax.Array, old: jax.Array) -> jax.Array:
    is_new = inputs.admitted.reshape(-1, *(1,) * (new.ndim - 1))
    return jnp.where(is_new, new, old)

  return jax.tree.map(choose, admitted, running)


def assign_slots(num_slots: int, running: RunningSequences) -> SlotAssignment:
  """Assigns running sequences to slots in order of admission."""
  is_unfinished_Q = running.code == 0
  (Q,) = is_unfinished_Q.shape
  last = jnp.iinfo(jnp.int32).max
  queue_Q = jnp.argsort(jnp.where(is_unfinished_Q, running.admission, last))
  num_unfinished = jnp.sum(is_unfinished_Q)
  place_B = jnp.arange(num_slots)
  first_B = queue_Q.at[place_B].get(mode="fill", fill_value=Q)
  return SlotAssignment(
    sequence=jnp.where(place_B < num_unfinished, first_B, Q).astype(jnp.int32),
    queue=queue_Q,
    num_unfinished=num_unfinished,
    next=jnp.minimum(num_unfinished, num_slots),
  )


def refill_slots(
  stop_rules: StopRules,
  table_AV: jax.Array,
  running: RunningSequences,
  slots: SlotAssignment,
  current: RunningSequences,
  tokens_B: jax.Array,
) -> tuple[RunningSequences, SlotAssignment]:
  """Appends the drawn tokens, and refills the slots whose sequence ended.

  Args:
    stop_rules: static.
    table_AV: transition table of the automaton that finds stop strings.
    running: the running set before the tokens.
    slots: the assignment with which they were drawn.
    current: the sequences in the slots, [B].
    tokens_B: int32, the token that each slot drew.
  """
  (Q,) = running.code.shape
  num_drawn_B = current.num_drawn + 1
  stop_state, code_B = stops.update_stop_state(
    current.stop_state,
    tokens_B,
    num_drawn_B,
    current.max_len,
    rules=stop_rules,
    table_AV=table_AV,
  )
  after = current._replace(
    token=tokens_B,
    position=current.position + 1,
    num_drawn=num_drawn_B,
    code=code_B,
    stop_state=stop_state,
  )
  running = jax.tree.map(
    lambda old, new: old.at[slots.sequence].set(new, mode="drop"),
    running,
    after,
  )
  is_free_B = (slots.sequence == Q) | (code_B > 0)
  place_B = slots.next + jnp.cumsum(is_free_B) - 1
  is_refilled_B = is_free_B & (place_B < slots.num_unfinished)
  next_B = slots.queue.at[place_B].get(mode="fill", fill_value=Q)
  refill_B = jnp.where(is_refilled_B, next_B, Q).astype(jnp.int32)
  return running, slots._replace(
    sequence=jnp.where(is_free_B, refill_B, slots.sequence),
    next=slots.next + jnp.sum(is_refilled_B),
  )


def take(tree: Any, index_B: jax.Array) -> Any:
  """Entries of arrays [Q, …] by index, as arrays [B, …]; zeros at index Q."""
  return jax.tree.map(
    lambda x: x.at[index_B].get(mode="fill", fill_value=0), tree
  )
