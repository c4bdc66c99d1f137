"""Responses of forced lengths by Tunix's Sampler.

  python tunix_generate.py DIRECTORY WORKLOAD BATCH

DIRECTORY is what benchmarks/sampler.py writes: weights and workloads.json.

The Sampler has no length limit per row, so that a batch runs to the longest of
its rows. Prompt, response and cache of each batch are as long as that batch
needs and no longer: every step attends to the whole cache, so that padding
to shapes that batches could share would cost it time. Exact shapes
need a compilation for each batch; these are not timed, as all are compiled
before the first turn. Log-probabilities are not computed.
"""

import dataclasses
import pathlib
import sys

import jax.numpy as jnp
import serve
import tunix_update
from tunix.generate import sampler as tunix


class Numbers:
  """A tokenizer whose texts are token ids in decimal; it has no stop token."""

  def encode(self, text: str) -> list[int]:
    return [int(word) for word in text.split()]

  def decode(self, ids: list[int]) -> str:
    return ""

  def bos_id(self) -> None:
    return None

  def eos_id(self) -> int:
    return 2**30

  def pad_id(self) -> int:
    return 0


class Batch:
  """A batch, and the compiled programs of its shape."""

  def __init__(self, model, prompts: list[list[int]], lens: list[int]):
    self.lens = lens
    self._num_prompt = max(map(len, prompts))
    self._texts = [" ".join(map(str, prompt)) for prompt in prompts]
    config = model.config
    self._sampler = tunix.Sampler(
      model,
      Numbers(),
      tunix.CacheConfig(
        cache_size=self._num_prompt + max(lens),
        num_layers=config.num_layers,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
      ),
    )

  def generate(self, **sampling):
    """New tokens of all rows, as many as the longest row's."""
    return self._sampler(
      self._texts,
      max_generation_steps=max(self.lens),
      max_prompt_length=self._num_prompt,
      **sampling,
    ).tokens

  def compile(self, **sampling) -> None:
    """A call whose rows are all done after the first token."""
    decode = self._sampler._compiled_decode_fn
    self._sampler._compiled_decode_fn = lambda params, state: decode(
      params, dataclasses.replace(state, done=jnp.ones_like(state.done))
    )
    self.generate(**sampling)
    self._sampler._compiled_decode_fn = decode


def main() -> None:
  directory, workload, size = sys.argv[1:]
  directory, size = pathlib.Path(directory), int(size)
  model = tunix_update._model(directory)
  work = [
    Batch(model, *rows) for rows in serve.batches(directory, workload, size)
  ]
  greedy = Batch(model, *next(serve.batches(directory, "greedy", size)))
  sampling = {"temperature": 1.0, "top_p": 1.0}
  num_turns = 0

  def step() -> int:
    nonlocal num_turns
    num_turns += 1
    return sum(
      min(len(row), length)
      for batch in work
      for row, length in zip(
        batch.generate(seed=num_turns, **sampling), batch.lens, strict=True
      )
    )

  def warm_up() -> list[list[int]]:
    for batch in work:
      batch.compile(seed=0, **sampling)
    return [row.tolist() for row in greedy.generate()]

  serve.serve(step, warm_up)


if __name__ == "__main__":
  main()
