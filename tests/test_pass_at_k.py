"""pass@k against enumeration; intervals against the normal approximation."""

import itertools

import numpy as np
import pytest

from kimina_jax.rewards.pass_at_k import bootstrap_interval, pass_at_k


@pytest.mark.parametrize("n", [1, 3, 6])
def test_pass_at_k_by_enumeration(n):
  for c, k in itertools.product(range(n + 1), range(1, n + 1)):
    proved = [True] * c + [False] * (n - c)
    draws = list(itertools.combinations(proved, k))
    share = sum(any(draw) for draw in draws) / len(draws)
    assert pass_at_k(n, c, k) == pytest.approx(share)


def test_pass_at_k_is_stable_for_many_samples():
  assert pass_at_k(100_000, 1, 1) == pytest.approx(1e-5)
  assert pass_at_k(8192, 3, 8192) == 1.0


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match="pass@8 needs at least 8"):
    pass_at_k(4, 2, 8)


def test_interval_is_close_to_normal():
  values = np.random.default_rng(1).random(400)
  low, high = bootstrap_interval(values)
  half = 1.96 * values.std() / np.sqrt(len(values))
  assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
  assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
