"""Lanes that share pages: the same values, and each page read for many."""

import functools
import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from kimina_jax.model import paged_xla

S, K, G, H = 4, 2, 3, 8
NUM_LANES, NUM_PLACES = 20, 4
NUM_PAGES = NUM_LANES * NUM_PLACES


@st.composite
def _tables(draw) -> tuple[np.ndarray, np.ndarray]:
  """Lanes that have prefixes in common, as prompts and rollouts do."""
  fresh = iter(range(NUM_PAGES))
  rows: list[list[int]] = []
  for _ in range(NUM_LANES):
    parent = rows[draw(st.integers(0, len(rows) - 1))] if rows else []
    kept = draw(st.integers(0, len(parent)))
    rows.append(
      [*parent[:kept], *[next(fresh) for _ in range(kept, NUM_PLACES)]]
    )
  positions = st.integers(-1, NUM_PLACES * S - 1)
  positions_Q = [draw(positions) for _ in rows]
  return np.array(rows), np.array(positions_Q)


def _by_hand(q_QNH, kv_PSCH, tables_QJ, positions_Q) -> np.ndarray:
  """Each lane by itself, in numpy."""
  out_QNH = np.zeros(q_QNH.shape)
  for lane, (pages_J, position) in enumerate(
    zip(tables_QJ, positions_Q, strict=True)
  ):
    keys_TCH = kv_PSCH[pages_J].reshape(-1, 2 * K, H)[: position + 1]
    for n in range(K * G if position >= 0 else 0):
      k_TH, v_TH = keys_TCH[:, 2 * (n // G)], keys_TCH[:, 2 * (n // G) + 1]
      share_T = np.exp(k_TH @ q_QNH[lane, n] / math.sqrt(H))
      out_QNH[lane, n] = share_T @ v_TH / share_T.sum()
  return out_QNH


def _lines(tables_QJ, positions_Q, pages_at_once: int):
  return paged_xla.stand_in_lines(
    tables_QJ, positions_Q, page_size=S, pages_at_once=pages_at_once
  )


@functools.partial(jax.jit, static_argnames="pages_at_once")
def _attend(q_QNH, kv_PSCH, tables_QJ, positions_Q, pages_at_once):
  return paged_xla.attend(
    q_QNH,
    kv_PSCH,
    lines=_lines(tables_QJ, positions_Q, pages_at_once),
    chunks_QJ=jnp.zeros((0, 1), jnp.int32),
    chunk_positions_QS=jnp.zeros((0, S), jnp.int32),
    first=jnp.int32(0),
  )


@settings(max_examples=40, deadline=None)
@given(_tables(), st.sampled_from([1, 3, 99]))
def test_lanes_see_the_same_whoever_shares_their_pages(lanes, pages_at_once):
  tables_QJ, positions_Q = lanes
  rng = np.random.default_rng(0)
  q_QNH = rng.standard_normal((len(tables_QJ), K * G, H)).astype(np.float32)
  kv_PSCH = rng.standard_normal((NUM_PAGES, S, 2 * K, H)).astype(np.float32)
  got_QNH = _attend(q_QNH, kv_PSCH, *lanes, pages_at_once=pages_at_once)
  want_QNH = _by_hand(q_QNH, kv_PSCH, tables_QJ, positions_Q)
  np.testing.assert_allclose(got_QNH, want_QNH, atol=1e-5)


@pytest.mark.parametrize("num_rollouts", [1, 2, 8, 9, 20])
def test_a_prompts_pages_are_read_once_for_eight(num_rollouts):
  """Three pages of each prompt, two of each response, one of the last's."""
  shared, own, num_prompts = np.arange(3), np.arange(2), 3
  tables_QJ = np.array(
    [
      np.concatenate(
        (100 * prompt + shared, 1000 * rollout + 10 * prompt + own)
      )
      for prompt in range(num_prompts)
      for rollout in range(1, num_rollouts + 1)
    ]
  )
  positions_Q = np.full(len(tables_QJ), 5 * S - 1)
  positions_Q[-1] -= S
  alone, together = (
    int(line.num_looks)
    for line in _lines(jnp.int32(tables_QJ), jnp.int32(positions_Q), 1)
  )
  num_own, num_shared = 2 * len(tables_QJ) - 1, 3 * num_prompts
  if num_rollouts == 1:
    assert (alone, together) == (num_own + num_shared, 0)
  else:
    num_times = math.ceil(num_rollouts / 8)
    assert (alone, together) == (num_own, num_shared * num_times)
