"""Slots that share pages: the same values, and each page read for many."""

import functools
import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from kimina_jax.model import paged_xla

PAGE_SIZE, K, G, H = 4, 2, 3, 8
NUM_SLOTS, NUM_PLACES = 20, 4
NUM_PAGES = NUM_SLOTS * NUM_PLACES


@st.composite
def _tables(draw) -> tuple[np.ndarray, np.ndarray]:
  """Slots that have prefixes in common, as prompts and rollouts do."""
  fresh = iter(range(NUM_PAGES))
  rows: list[list[int]] = []
  for _ in range(NUM_SLOTS):
    parent = rows[draw(st.integers(0, len(rows) - 1))] if rows else []
    kept = draw(st.integers(0, len(parent)))
    rows.append(
      [*parent[:kept], *[next(fresh) for _ in range(kept, NUM_PLACES)]]
    )
  positions = st.integers(-1, NUM_PLACES * PAGE_SIZE - 1)
  positions_B = [draw(positions) for _ in rows]
  return np.array(rows), np.array(positions_B)


def _by_hand(q_BNH, kv_POYH, tables_BJ, positions_B) -> np.ndarray:
  """Each slot by itself, in numpy."""
  out_BNH = np.zeros(q_BNH.shape)
  for slot, (pages_J, position) in enumerate(
    zip(tables_BJ, positions_B, strict=True)
  ):
    keys_TYH = kv_POYH[pages_J].reshape(-1, 2 * K, H)[: position + 1]
    for n in range(K * G if position >= 0 else 0):
      k_TH, v_TH = keys_TYH[:, 2 * (n // G)], keys_TYH[:, 2 * (n // G) + 1]
      share_T = np.exp(k_TH @ q_BNH[slot, n] / math.sqrt(H))
      out_BNH[slot, n] = share_T @ v_TH / share_T.sum()
  return out_BNH


def _group(tables_BJ, positions_B, pages_at_once: int):
  return paged_xla.group_pages(
    tables_BJ, positions_B, page_size=PAGE_SIZE, pages_at_once=pages_at_once
  )


@functools.partial(jax.jit, static_argnames="pages_at_once")
def _attend(q_BNH, kv_POYH, tables_BJ, positions_B, pages_at_once):
  return paged_xla.attend_pages(
    q_BNH,
    kv_POYH,
    page_readers=_group(tables_BJ, positions_B, pages_at_once),
    chunks_CJ=jnp.zeros((0, 1), jnp.int32),
    chunk_positions_CO=jnp.zeros((0, PAGE_SIZE), jnp.int32),
    first_page=jnp.int32(0),
  )


@settings(max_examples=40, deadline=None)
@given(_tables(), st.sampled_from([1, 3, 99]))
def test_shared_pages_do_not_change_the_values(tables, pages_at_once):
  tables_BJ, positions_B = tables
  rng = np.random.default_rng(0)
  q_BNH = rng.standard_normal((len(tables_BJ), K * G, H)).astype(np.float32)
  kv_POYH = rng.standard_normal((NUM_PAGES, PAGE_SIZE, 2 * K, H)).astype(
    np.float32
  )
  got_BNH = _attend(q_BNH, kv_POYH, *tables, pages_at_once=pages_at_once)
  want_BNH = _by_hand(q_BNH, kv_POYH, tables_BJ, positions_B)
  np.testing.assert_allclose(got_BNH, want_BNH, atol=1e-5)


@pytest.mark.parametrize("num_rollouts", [1, 2, 8, 9, 20])
def test_a_prompts_pages_are_read_once_for_eight_slots(num_rollouts):
  """Three pages of each prompt, two of each response, one of the last's."""
  shared, own, num_prompts = np.arange(3), np.arange(2), 3
  tables_BJ = np.array(
    [
      np.concatenate(
        (100 * prompt + shared, 1000 * rollout + 10 * prompt + own)
      )
      for prompt in range(num_prompts)
      for rollout in range(1, num_rollouts + 1)
    ]
  )
  positions_B = np.full(len(tables_BJ), 5 * PAGE_SIZE - 1)
  positions_B[-1] -= PAGE_SIZE
  alone, together = (
    int(line.num_batches)
    for line in _group(jnp.int32(tables_BJ), jnp.int32(positions_B), 1)
  )
  num_own, num_shared = 2 * len(tables_BJ) - 1, 3 * num_prompts
  if num_rollouts == 1:
    assert (alone, together) == (num_own + num_shared, 0)
  else:
    num_times = math.ceil(num_rollouts / 8)
    assert (alone, together) == (num_own, num_shared * num_times)
