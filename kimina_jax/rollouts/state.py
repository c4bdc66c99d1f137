"""What lies on the devices between two dispatches, and what crosses over.

In: sizes. Out: records of arrays, and where they lie. E counts replicas, R
resident rollouts, B lanes, J pages of a sequence, Q chunks, S positions of a
page, T the steps of a dispatch. Nothing is computed here.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.kv_quantization import has_scales
from kimina_jax.model.paged import PagedCache
from kimina_jax.rollouts import stops
from kimina_jax.rollouts.stops import Rules, StopState

# A resident's code: alive, or an index of stops.STOPS, or this.
EMPTY = -1


class Residents(NamedTuple):
  """R rollouts per replica whose past is in the cache, up to `token_ER`.

  The next step of one feeds that token at `position_ER` and draws its
  successor.

  Attributes:
    key_ER2: uint32, data of the key that its draws are folded from.
    serial_ER: int32, in the order in which they became residents.
    token_ER: int32, the last token, not yet in the cache.
    position_ER: int32, where it stands.
    drawn_ER: int32, tokens of the response so far.
    max_len_ER: int32, tokens of the response at most.
    code_ER: int32, 0 while it goes on, why it ended, or -1 for nobody.
    stop: what of the response decides about its end.
  """

  key_ER2: Any
  serial_ER: Any
  token_ER: Any
  position_ER: Any
  drawn_ER: Any
  max_len_ER: Any
  code_ER: Any
  stop: StopState


class State(NamedTuple):
  """What stays on the devices between two dispatches."""

  cache: PagedCache
  residents: Residents


class Orders(NamedTuple):
  """What the host decided for one dispatch.

  Attributes:
    new_ER: bool, the resident is replaced by what follows.
    gone_ER: bool, the resident leaves.
    name_ER2: uint32, iteration and row of the rollout.
    serial_ER, token_ER, position_ER, drawn_ER, max_len_ER, stop: of the new
      residents, as in Residents.
    table_ERJ: int32, the pages of every resident.
    copies_ER2: int32, from which page to which, before anything else ...
    num_copies_E: int32, ... of which so many count.
    chunk_tokens_EQS: int32, pages of prompts to compute.
    chunk_positions_EQS: int32; -1 is no token.
    chunks_EQJ: int32, the pages of their prompts.
  """

  new_ER: Any
  gone_ER: Any
  name_ER2: Any
  serial_ER: Any
  token_ER: Any
  position_ER: Any
  drawn_ER: Any
  max_len_ER: Any
  stop: StopState
  table_ERJ: Any
  copies_ER2: Any
  num_copies_E: Any
  chunk_tokens_EQS: Any
  chunk_positions_EQS: Any
  chunks_EQJ: Any


class Trace(NamedTuple):
  """What one dispatch drew.

  Attributes:
    tokens_TEB: int32.
    logps_TEB: float32, under the distribution drawn from.
    model_logps_TEB: float32, under the model.
    resident_TEB: int32, whose token it is; R is nobody's.
    code_ER: int32, as in Residents, after the dispatch.
    asked: bool, whether one of the processes was asked to stop.
  """

  tokens_TEB: Any
  logps_TEB: Any
  model_logps_TEB: Any
  resident_TEB: Any
  code_ER: Any
  asked: Any


class Limits(NamedTuple):
  """What is fixed for an engine: how to draw, when to stop."""

  temperature: float
  top_p: float
  top_k: int
  min_p: float
  rules: Rules
  num_steps: int


class Sizes(NamedTuple):
  """Of what lies on the devices.

  Attributes:
    num_replicas: E.
    num_residents: R, of each replica.
    num_pages: of each replica.
    page_size: S.
    cache_dtype: of kv_quantization.DTYPES.
  """

  num_replicas: int
  num_residents: int
  num_pages: int
  page_size: int
  cache_dtype: str


def no_residents(*, limits: Limits, sizes: Sizes) -> Residents:
  """Nobody is resident."""
  E, R = sizes.num_replicas, sizes.num_residents
  zeros_ER = jnp.zeros((E, R), jnp.int32)
  stop = stops.start(E * R, limits.rules)
  return Residents(
    key_ER2=jnp.zeros((E, R, 2), jnp.uint32),
    serial_ER=zeros_ER,
    token_ER=zeros_ER,
    position_ER=zeros_ER,
    drawn_ER=zeros_ER,
    max_len_ER=zeros_ER,
    code_ER=zeros_ER + EMPTY,
    stop=jax.tree.map(lambda x: x.reshape(E, R, *x.shape[1:]), stop),
  )


def state_shardings(
  mesh: jax.sharding.Mesh, *, limits: Limits, sizes: Sizes
) -> State:
  """Pages and residents by replica, kv heads over tensor."""
  table = meshes.ACTIVATIONS["decode"]
  residents = jax.eval_shape(
    functools.partial(no_residents, limits=limits, sizes=sizes)
  )
  by_replica = meshes.sharding(mesh, "B", table)
  scale = meshes.sharding(mesh, "LCH", table)
  return State(
    PagedCache(
      meshes.sharding(mesh, "PSCH", table),
      scale if has_scales(sizes.cache_dtype) else None,
    ),
    jax.tree.map(lambda _: by_replica, residents),
  )
