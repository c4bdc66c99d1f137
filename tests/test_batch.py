"""Packing loses nothing, has one shape, and is the same every time."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from plain_settings import loss_settings

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.learning import batch as batching
from kimina_jax.learning import losses
from kimina_jax.types import (
  Problem,
  Prompt,
  Rollout,
  Sample,
  Status,
  UsageError,
  Verdict,
)


def _prompt(name: str, num_tokens: int) -> Prompt:
  tokens = np.arange(1, num_tokens + 1, dtype=np.int32)
  return Prompt(Problem(name, "", "theorem t : 1 = 1 := by"), "…", tokens)


def _sample(
  row: int,
  *,
  num_prompt: int = 3,
  num_response: int = 4,
  reward: float | None = 1.0,
  advantage: float = 0.5,
  dropped: bool = False,
  num_carried: int = 0,
) -> Sample:
  rng = np.random.default_rng(row)
  logps = -rng.random(num_response, np.float32)
  rollout = Rollout(
    prompt=_prompt(f"problem_{row}", num_prompt),
    index=row,
    tokens=rng.integers(100, 200, num_response).astype(np.int32),
    logps=logps,
    model_logps=logps,
    text="…",
    stop_reason="stop",
    num_carried=num_carried,
  )
  return Sample(
    rollout,
    Verdict(Status.PROVED),
    reward=reward,
    advantage=advantage,
    dropped=dropped,
  )


def _example(name: str, size: int) -> batching.Example:
  tokens = np.arange(size, dtype=np.int32)
  return batching.Example(name, tokens, 1, 1.0, np.zeros(size - 1, np.float32))


def _examples(samples) -> list[batching.Example]:
  return batching.examples_from_samples(samples, learn_from_carried=False)


def _unpack(batches) -> list[dict]:
  """What the batches hold, read back sequence by sequence."""
  found = []
  for batch in batches:
    for b, s in np.argwhere(batch.weight_BM):
      own_T = batch.segments_BT[b] == s + 1
      response_T = own_T & (batch.response_BT[b] == 1)
      found.append(
        {
          "tokens": batch.tokens_BT[b, own_T].tolist(),
          "positions": batch.positions_BT[b, own_T].tolist(),
          "response": batch.tokens_BT[b, response_T].tolist(),
          "logps": batch.sampler_logp_BT[b, response_T].tolist(),
          "advantage": float(batch.advantage_BM[b, s]),
        }
      )
  return sorted(found, key=str)


@pytest.mark.parametrize("rows_per_batch", [1, 4])
def test_pack_holds_every_sample_once(rows_per_batch):
  rng = np.random.default_rng(0)
  samples = [
    _sample(
      row,
      num_prompt=int(rng.integers(1, 30)),
      num_response=int(rng.integers(1, 90)),
      advantage=float(row),
    )
    for row in range(40)
  ]
  examples = _examples(samples)
  batches = batching.pack(
    examples, sequence_len=128, rows_per_batch=rows_per_batch
  )
  expected = []
  for sample in samples:
    rollout = sample.rollout
    tokens = rollout.prompt.tokens.tolist() + rollout.tokens.tolist()
    expected.append(
      {
        "tokens": tokens,
        "positions": list(range(len(tokens))),
        "response": rollout.tokens.tolist(),
        "logps": rollout.logps.tolist(),
        "advantage": sample.advantage,
      }
    )
  assert _unpack(batches) == sorted(expected, key=str)
  assert {batch.tokens_BT.shape for batch in batches} == {(rows_per_batch, 128)}
  assert {batch.weight_BM.shape for batch in batches} == {(rows_per_batch, 4)}
  # All values outside of the sequences are zero.
  for batch in batches:
    off_BT = batch.segments_BT == 0
    assert not batch.tokens_BT[off_BT].any()
    assert not batch.response_BT[off_BT].any()


def test_first_fit_takes_the_first_row_with_room():
  sizes = {"a": 60, "b": 50, "c": 45, "d": 30, "e": 40, "f": 20}
  examples = [_example(name, size) for name, size in sizes.items()]
  rows = batching.fill_rows(examples, sequence_len=100)
  names = ["".join(example.name for example in row) for row in rows]
  assert names == ["ad", "bc", "ef"]


def test_rows_hold_a_fixed_number_of_sequences():
  examples = [_example(str(i), 2) for i in range(5)]
  rows = batching.fill_rows(examples, sequence_len=64)
  assert [len(row) for row in rows] == [2, 2, 1]


def test_many_rows_are_packed_like_few():
  examples = [_example(str(i), 60) for i in range(200)]
  rows = batching.fill_rows(examples, sequence_len=64)
  assert [row[0].name for row in rows] == [str(i) for i in range(200)]


def test_no_examples_are_one_empty_batch():
  (batch,) = batching.pack([], sequence_len=64, rows_per_batch=2)
  assert batch.tokens_BT.shape == (2, 64)
  assert not any(np.any(array) for array in batch)


def test_too_long_names_the_problem_and_both_numbers():
  with pytest.raises(UsageError, match="amc_12.* 65 tokens.* 64;"):
    batching.pack([_example("amc_12", 65)], sequence_len=64, rows_per_batch=1)


def test_dropped_and_excluded_samples_are_left_out():
  samples = [
    _sample(0),
    _sample(1, dropped=True),
    _sample(2, reward=None),
    _sample(3, reward=0.0, num_response=9),
  ]
  names = [example.name for example in _examples(samples)]
  assert names == ["problem_3", "problem_0"]


def test_demonstration_is_prompt_then_response():
  response = np.array([7, 8, 2], np.int32)
  example = batching.example_from_demonstration(_prompt("p", 2), response)
  (batch,) = batching.pack([example], sequence_len=32, rows_per_batch=1)
  assert batch.tokens_BT[0, :6].tolist() == [1, 2, 7, 8, 2, 0]
  assert batch.response_BT[0, :6].tolist() == [0, 0, 1, 1, 1, 0]
  assert batch.advantage_BM.sum() == 0
  assert batch.weight_BM.sum() == 1


def test_minibatches_deal_out_every_sample_once():
  samples = [_sample(row, dropped=row % 3 == 0) for row in range(24)]

  def deal(iteration: int) -> list[list[int]]:
    parts = batching.minibatches(
      samples, num_minibatches=4, seed=1, iteration=iteration
    )
    return [[sample.rollout.index for sample in part] for part in parts]

  first = deal(0)
  assert [len(part) for part in first] == [6, 6, 6, 6]
  assert sorted(row for part in first for row in part) == list(range(24))
  assert deal(0) == first
  assert deal(1) != first


@pytest.mark.parametrize(
  ("num_samples", "sizes"),
  [(10, [3, 3, 2, 2]), (4, [1] * 4), (3, [1] * 3), (0, [])],
)
def test_minibatches_are_as_equal_as_can_be(num_samples, sizes):
  samples = [_sample(row) for row in range(num_samples)]
  parts = batching.minibatches(samples, num_minibatches=4, seed=0, iteration=0)
  assert [len(part) for part in parts] == sizes
  rows = sorted(sample.rollout.index for part in parts for sample in part)
  assert rows == list(range(num_samples))


def test_tokens_of_earlier_iterations_are_context():
  sample = _sample(0, num_prompt=2, num_response=5, num_carried=3)
  new = sample.rollout.logps[3:]

  def pack(**options: bool):
    examples = batching.examples_from_samples([sample], **options)
    (batch,) = batching.pack(examples, sequence_len=32, rows_per_batch=1)
    return batch

  batch = pack(learn_from_carried=False)
  assert batch.response_BT[0, :8].tolist() == [0, 0, 0, 0, 0, 1, 1, 0]
  np.testing.assert_array_equal(batch.sampler_logp_BT[0, 5:7], new)
  assert not batch.sampler_logp_BT[0, :5].any()
  # All else is as if they counted, which they do if they are to.
  whole = pack(learn_from_carried=True)
  assert whole.response_BT[0, :8].tolist() == [0, 0, 1, 1, 1, 1, 1, 0]
  for name in ("tokens_BT", "positions_BT", "segments_BT", "weight_BM"):
    np.testing.assert_array_equal(getattr(batch, name), getattr(whole, name))


def test_tokens_of_earlier_iterations_have_no_part_in_the_loss():
  """ρ, its square and the token mean, by hand, over the last two of five."""
  sample = _sample(0, num_response=5, num_carried=3, advantage=0.5)
  examples = batching.examples_from_samples([sample], learn_from_carried=False)
  (batch,) = batching.pack(examples, sequence_len=32, rows_per_batch=1)
  logp_BT = np.zeros((1, 32), np.float32)
  logp_BT[0, 3:8] = [9.0, 8.0, 7.0, 0.25, -0.75]
  totals = losses.add_to_totals(losses.UpdateTotals(4.0, 0.0, 0.0), batch)
  kimi = losses.make_loss(loss_settings(tau=0.4), max_len=10)
  loss, metrics = kimi(logp_BT, batch, totals)
  rho = 0.25 - 0.75
  assert float(metrics["rho_mean"]) == pytest.approx(rho)
  assert float(loss) == pytest.approx((-0.5 * rho + 0.2 * rho**2) / (4 * 10))
  assert float(totals.num_tokens) == 2


def test_put_splits_rows_over_data_and_fsdp():
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  samples = [_sample(row) for row in range(12)]
  (batch,) = batching.pack(
    _examples(samples), sequence_len=64, rows_per_batch=8
  )
  on_mesh = batching.put_batch(batch, mesh)
  assert on_mesh.tokens_BT.addressable_shards[0].data.shape == (2, 64)
  assert on_mesh.weight_BM.addressable_shards[0].data.shape == (2, 2)
  assert on_mesh.weight_BM.sharding.spec == PartitionSpec(("data", "fsdp"))
  jax.tree.map(np.testing.assert_array_equal, on_mesh, batch)


def test_put_refuses_rows_that_the_mesh_does_not_divide():
  mesh = make_mesh(MeshSettings(data=8, fsdp=1, context=1, tensor=1))
  (batch,) = batching.pack([], sequence_len=32, rows_per_batch=12)
  with pytest.raises(UsageError, match="rows_per_batch = 12.*fsdp = 8"):
    batching.put_batch(batch, mesh)


def test_an_abstract_batch_is_what_put_gives():
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=2, tensor=1))
  (batch,) = batching.pack([], sequence_len=64, rows_per_batch=8)
  put = batching.put_batch(batch, mesh)
  abstract = batching.abstract_batch(mesh, num_rows=8, sequence_len=64)

  def check(x: jax.Array, wanted: jax.ShapeDtypeStruct) -> None:
    assert (x.shape, x.dtype) == (wanted.shape, wanted.dtype)
    assert x.sharding.is_equivalent_to(wanted.sharding, x.ndim)

  jax.tree.map(check, put, abstract)
