"""Sequence packing: samples and demonstrations to batches of one shape.

In: Samples or demonstrations. Out: Batches, all of shape [rows_per_batch,
sequence_len], so that one compiled update serves a whole run and memory is
bounded however many sequences a minibatch has. No sequence is truncated.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from kimina_jax.infra import mesh as meshes
from kimina_jax.types import Batch, Prompt, Sample, UsageError

# A row of T tokens has at most T / 32 sequences.
_TOKENS_PER_SEQUENCE = 32

# Separates this stream of random numbers from others of the same seed.
_SHUFFLE = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
  """A prompt with a response to learn from, before packing.

  Attributes:
    name: of the problem, for messages.
    tokens: int32 [prompt length + response length].
    num_prompt: prompt length.
    advantage: see Sample; 0 for demonstrations.
    sampler_logps: float32 [response length]; zeros for demonstrations.
    num_carried: number of tokens at the start of the response that are not
      learned from.
  """

  name: str
  tokens: np.ndarray
  num_prompt: int
  advantage: float
  sampler_logps: np.ndarray
  num_carried: int = 0


def minibatches(
  samples: Sequence[Sample], *, num_minibatches: int, seed: int, iteration: int
) -> list[list[Sample]]:
  """Splits an iteration's samples at random into minibatches, one per update.

  Their sizes differ by one at most, and none is empty. Dropped and excluded
  samples are distributed like the others, because every update counts them in
  its denominator, `num_sequences`.
  """
  rng = np.random.default_rng([_SHUFFLE, seed, iteration])
  order = rng.permutation(len(samples))
  parts = np.array_split(order, num_minibatches)
  return [[samples[i] for i in part] for part in parts if part.size]


def examples_from_samples(
  samples: Iterable[Sample], *, learn_from_carried: bool
) -> list[Example]:
  """The samples that count in the loss, the longest first.

  Dropped and excluded samples contribute nothing to any sum and are left out.
  First-fit packing wastes the least space when the longest come first.

  Args:
    samples: of one minibatch.
    learn_from_carried: whether tokens that were sampled in an iteration before
      the one in which their rollout ended are learned from; else they are
      context only.
  """
  examples = [
    Example(
      name=sample.rollout.prompt.problem.name,
      tokens=np.concatenate(
        [sample.rollout.prompt.tokens, sample.rollout.tokens]
      ),
      num_prompt=len(sample.rollout.prompt.tokens),
      advantage=sample.advantage,
      sampler_logps=sample.rollout.logps,
      num_carried=0 if learn_from_carried else sample.rollout.num_carried,
    )
    for sample in samples
    if sample.reward is not None and not sample.dropped
  ]
  return sorted(examples, key=lambda example: -len(example.tokens))


def example_from_demonstration(prompt: Prompt, response: np.ndarray) -> Example:
  """The example of a demonstration: `response` is int32 with its stop token."""
  return Example(
    name=prompt.problem.name,
    tokens=np.concatenate([prompt.tokens, response]),
    num_prompt=len(prompt.tokens),
    advantage=0.0,
    sampler_logps=np.zeros(len(response), np.float32),
  )


def pack(
  examples: Iterable[Example], *, sequence_len: int, rows_per_batch: int
) -> list[Batch]:
  """Packs examples into NumPy batches of one shape.

  Rows are filled first-fit in the order of the examples; the last batch is
  padded with empty rows. No examples make one empty batch, so that an update
  whose samples were all dropped is an update with gradient zero.

  Args:
    examples: to be packed, in this order.
    sequence_len: T, tokens per row.
    rows_per_batch: B.

  Raises:
    UsageError: an example is longer than a row.
  """
  rows = fill_rows(examples, sequence_len=sequence_len)
  num_batches = max(1, math.ceil(len(rows) / rows_per_batch))
  return [
    stack_rows(
      rows[i * rows_per_batch : (i + 1) * rows_per_batch],
      sequence_len=sequence_len,
      rows_per_batch=rows_per_batch,
    )
    for i in range(num_batches)
  ]


def fill_rows(
  examples: Iterable[Example], *, sequence_len: int
) -> list[list[Example]]:
  """First-fit: each example goes into the first row that has room for it."""
  rows: list[list[Example]] = []
  free_B = np.zeros(64, np.int64)  # tokens that each row still has room for
  for example in examples:
    size = len(example.tokens)
    if size > sequence_len:
      raise UsageError(
        f"{example.name}: prompt and response have {size} tokens, a row has "
        f"{sequence_len}; raise sequence_len or lower max_response_len"
      )
    if len(rows) == len(free_B):
      free_B = np.concatenate([free_B, np.zeros_like(free_B)])
    # Opens the next row, so that argmax always finds one.
    free_B[len(rows)] = sequence_len
    row = int(np.argmax(free_B >= size))
    if row == len(rows):
      rows.append([])
    rows[row].append(example)
    free_B[row] -= size
    if len(rows[row]) == _max_sequences(sequence_len):
      free_B[row] = -1
  return rows


def stack_rows(
  rows: Sequence[Sequence[Example]], *, sequence_len: int, rows_per_batch: int
) -> Batch:
  """A Batch of at most `rows_per_batch` filled rows and empty ones."""
  batch = _empty(rows_per_batch, sequence_len)
  for b, row in enumerate(rows):
    start = 0
    for m, example in enumerate(row):
      end = start + len(example.tokens)
      given = example.num_prompt + example.num_carried
      learned = slice(start + given, end)
      batch.tokens_BT[b, start:end] = example.tokens
      batch.positions_BT[b, start:end] = np.arange(end - start)
      batch.segments_BT[b, start:end] = m + 1
      batch.response_BT[b, learned] = 1
      batch.sampler_logp_BT[b, learned] = example.sampler_logps[
        example.num_carried :
      ]
      batch.advantage_BM[b, m] = example.advantage
      batch.weight_BM[b, m] = 1
      start = end
  return batch


def put_batch(batch: Batch, mesh: jax.sharding.Mesh) -> Batch:
  """The batch as global arrays, sharded as the trainer's activations.

  Every process passes the same NumPy batch, and keeps its own rows of it.

  Raises:
    UsageError: the mesh does not divide the rows.
  """
  shardings = batch_shardings(mesh)
  num_rows = batch.tokens_BT.shape[0]
  num_shards = meshes.num_shards(mesh, "B", meshes.ACTIVATIONS["train"])
  if num_rows % num_shards:
    raise UsageError(
      f"rows_per_batch = {num_rows} is not a multiple of data x fsdp = "
      f"{num_shards} of the mesh; choose a multiple"
    )
  return jax.tree.map(_put_array, batch, shardings)


def abstract_batch(
  mesh: jax.sharding.Mesh, *, num_rows: int, sequence_len: int
) -> Batch:
  """A Batch of jax.ShapeDtypeStructs with the shardings of `put_batch`."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    jax.eval_shape(lambda: _empty(num_rows, sequence_len)),
    batch_shardings(mesh),
  )


def batch_shardings(mesh: jax.sharding.Mesh) -> Batch:
  """A NamedSharding per array: tokens by row and position, the rest by row."""
  table = meshes.ACTIVATIONS["train"]
  by_token = meshes.sharding(mesh, "BT", table)
  by_row = meshes.sharding(mesh, "B", table)
  return Batch(
    **{
      field: by_token if field.endswith("_BT") else by_row
      for field in Batch._fields
    }
  )


def _empty(num_rows: int, sequence_len: int) -> Batch:
  """Zeros; M depends on T alone, so that it never causes a recompilation."""
  BT = (num_rows, sequence_len)
  BM = (num_rows, _max_sequences(sequence_len))
  return Batch(
    tokens_BT=np.zeros(BT, np.int32),
    positions_BT=np.zeros(BT, np.int32),
    segments_BT=np.zeros(BT, np.int32),
    response_BT=np.zeros(BT, np.float32),
    advantage_BM=np.zeros(BM, np.float32),
    weight_BM=np.zeros(BM, np.float32),
    old_logp_BT=np.zeros(BT, np.float32),
    sampler_logp_BT=np.zeros(BT, np.float32),
  )


def _max_sequences(sequence_len: int) -> int:
  return math.ceil(sequence_len / _TOKENS_PER_SEQUENCE)


def _put_array(
  array: np.ndarray, sharding: jax.sharding.NamedSharding
) -> jax.Array:
  parts = sharding.addressable_devices_indices_map(array.shape)
  return jax.make_array_from_single_device_arrays(
    array.shape,
    sharding,
    [jax.device_put(array[index], device) for device, index in parts.items()],
  )
