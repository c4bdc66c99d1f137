"""Who sits in which lane, as the device keeps it; of one replica each.

In: residents, and what they drew. Out: residents and lanes after it. A lane
whose rollout ended is taken at once by the resident that came first of those
without one. Never runs the model.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.rollouts import stops
from kimina_jax.rollouts.state import EMPTY, Orders, Residents
from kimina_jax.rollouts.stops import Rules


class Lanes(NamedTuple):
  """Who sits in which lane, and who comes next."""

  resident_EB: jax.Array  # R is nobody
  order_ER: jax.Array  # residents, those alive first, by serial
  num_alive_E: jax.Array
  next_E: jax.Array  # place in the order


def enter(residents: Residents, orders: Orders, seed: jax.Array) -> Residents:
  """Who leaves and who comes."""
  key = jax.random.key(seed)
  fold_in = jax.vmap(jax.random.fold_in)
  keys_R = jax.vmap(jax.random.fold_in, (None, 0))(key, orders.name_ER2[:, 0])
  keys_R = fold_in(keys_R, orders.name_ER2[:, 1])
  fresh = Residents(
    key_ER2=jax.random.key_data(keys_R),
    serial_ER=orders.serial_ER,
    token_ER=orders.token_ER,
    position_ER=orders.position_ER,
    drawn_ER=orders.drawn_ER,
    max_len_ER=orders.max_len_ER,
    code_ER=jnp.zeros_like(residents.code_ER),
    stop=orders.stop,
  )
  gone_R = jnp.where(orders.gone_ER, EMPTY, residents.code_ER)
  residents = residents._replace(code_ER=gone_R)

  def choose(new: jax.Array, old: jax.Array) -> jax.Array:
    is_new = orders.new_ER.reshape(-1, *(1,) * (new.ndim - 1))
    return jnp.where(is_new, new, old)

  return jax.tree.map(choose, fresh, residents)


def first_lanes(num_lanes: int, residents: Residents) -> Lanes:
  """Those who came first sit down."""
  alive_R = residents.code_ER == 0
  (R,) = alive_R.shape
  last = jnp.iinfo(jnp.int32).max
  order_R = jnp.argsort(jnp.where(alive_R, residents.serial_ER, last))
  num_alive = jnp.sum(alive_R)
  place_B = jnp.arange(num_lanes)
  first_B = order_R.at[place_B].get(mode="fill", fill_value=R)
  return Lanes(
    resident_EB=jnp.where(place_B < num_alive, first_B, R).astype(jnp.int32),
    order_ER=order_R,
    num_alive_E=num_alive,
    next_E=jnp.minimum(num_alive, num_lanes),
  )


def advance(
  rules: Rules,
  table_QV: jax.Array,
  residents: Residents,
  lanes: Lanes,
  now: Residents,
  tokens_B: jax.Array,
) -> tuple[Residents, Lanes]:
  """Rollouts take their tokens, lanes their next rollouts."""
  (R,) = residents.code_ER.shape
  drawn_B = now.drawn_ER + 1
  stop, code_B = stops.advance(
    now.stop, tokens_B, drawn_B, now.max_len_ER, rules=rules, table=table_QV
  )
  after = now._replace(
    token_ER=tokens_B,
    position_ER=now.position_ER + 1,
    drawn_ER=drawn_B,
    code_ER=code_B,
    stop=stop,
  )
  residents = jax.tree.map(
    lambda x, new: x.at[lanes.resident_EB].set(new, mode="drop"),
    residents,
    after,
  )
  free_B = (lanes.resident_EB == R) | (code_B > 0)
  place_B = lanes.next_E + jnp.cumsum(free_B) - 1
  taken_B = free_B & (place_B < lanes.num_alive_E)
  order_B = lanes.order_ER.at[place_B].get(mode="fill", fill_value=R)
  refilled_B = jnp.where(taken_B, order_B, R).astype(jnp.int32)
  return residents, lanes._replace(
    resident_EB=jnp.where(free_B, refilled_B, lanes.resident_EB),
    next_E=lanes.next_E + jnp.sum(taken_B),
  )


def pick(tree: Any, index_B: jax.Array) -> Any:
  """Rows by number, zeros for nobody's."""
  return jax.tree.map(
    lambda x: x.at[index_B].get(mode="fill", fill_value=0), tree
  )
