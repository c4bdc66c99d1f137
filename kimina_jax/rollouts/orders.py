"""What the schedules of all replicas decided, as arrays for the device.

In: Plans. Out: Orders of NumPy arrays, in one of two shapes: with chunks or
without. Decides nothing.
"""

from collections.abc import Sequence

import numpy as np

from kimina_jax.rollouts import stops
from kimina_jax.rollouts.scheduler import Plan
from kimina_jax.rollouts.sequence import Row
from kimina_jax.rollouts.state import Orders, Sizes
from kimina_jax.rollouts.stops import Automaton, Rules, StopState


def make_orders(
  plans: Sequence[Plan],
  *,
  sizes: Sizes,
  table_len: int,
  num_chunks: int,
  rules: Rules,
  automaton: Automaton,
) -> Orders:
  """One Plan per replica, stacked.

  Args:
    plans: E of them.
    sizes: of the devices' state.
    table_len: J, pages of the longest sequence.
    num_chunks: Q, at least as many as a plan has; 0 leaves them out.
    rules: of the ends of rollouts.
    automaton: that finds stop strings.
  """
  orders = blank_orders(len(plans), sizes, table_len, num_chunks, rules)
  for replica, plan in enumerate(plans):
    orders.gone_ER[replica, plan.gone] = True
    for index, row in plan.new.items():
      orders.new_ER[replica, index] = True
      _enter(orders, (replica, index), row, rules, automaton)
    for index, pages in plan.tables.items():
      orders.table_ERJ[replica, index, : len(pages)] = pages
    orders.num_copies_E[replica] = len(plan.copies)
    for place, copy in enumerate(plan.copies):
      orders.copies_ER2[replica, place] = copy
    for place, (page, prefix) in enumerate(plan.chunks):
      first = page * sizes.page_size
      tokens = prefix.tokens[first : first + sizes.page_size]
      at = (replica, place, slice(len(tokens)))
      orders.chunk_tokens_EQS[at] = tokens
      orders.chunk_positions_EQS[at] = first + np.arange(len(tokens))
      orders.chunks_EQJ[replica, place, : len(prefix.pages)] = prefix.pages
  return orders


def _enter(
  orders: Orders,
  at: tuple[int, int],
  row: Row,
  rules: Rules,
  automaton: Automaton,
) -> None:
  response = row.response
  orders.name_ER2[at] = (row.iteration, row.index)
  orders.serial_ER[at] = row.serial
  orders.token_ER[at] = response[-1] if row.num_drawn else row.prompt.tokens[-1]
  orders.position_ER[at] = row.position
  orders.drawn_ER[at] = row.num_drawn
  orders.max_len_ER[at] = row.max_len
  state = stops.replay(response, rules=rules, automaton=automaton)
  for array, value in zip(orders.stop, state, strict=True):
    array[at] = value


def blank_orders(
  E: int, sizes: Sizes, table_len: int, num_chunks: int, rules: Rules
) -> Orders:
  """Nobody comes or goes, and no chunk has a token; see `make_orders`."""
  R, S = sizes.num_residents, sizes.page_size
  ints = {
    name: np.zeros((E, R), np.int32)
    for name in ("serial_ER", "token_ER", "position_ER", "drawn_ER")
  }
  periods = np.zeros((2, E, R, rules.num_periods), np.int32)
  return Orders(
    new_ER=np.zeros((E, R), bool),
    gone_ER=np.zeros((E, R), bool),
    name_ER2=np.zeros((E, R, 2), np.uint32),
    **ints,
    max_len_ER=np.ones((E, R), np.int32),
    stop=StopState(np.zeros((E, R), np.int32), *periods),
    table_ERJ=np.zeros((E, R, table_len), np.int32),
    copies_ER2=np.zeros((E, R, 2), np.int32),
    num_copies_E=np.zeros(E, np.int32),
    chunk_tokens_EQS=np.zeros((E, num_chunks, S), np.int32),
    chunk_positions_EQS=np.full((E, num_chunks, S), -1, np.int32),
    chunks_EQJ=np.zeros((E, num_chunks, table_len), np.int32),
  )
