"""The engine as benchmarks/sampler.py and decode_cost.py run it.

In: a model, flags, token ids. Out: rollouts of forced lengths, sampled on one
device.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts.engine import Engine
from kimina_jax.rollouts.sequence import new_sequences
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.types import Problem, Prompt, Rollout


class TextlessTokenizer:
  """A tokenizer without text and without a stop token."""

  stop_id = -1

  def __init__(self, vocab_size: int):
    self.vocab_size = vocab_size

  def decode(self, ids: np.ndarray) -> str:
    return ""

  def token_bytes(self) -> list[bytes]:
    return []


def make_engine(
  config: ModelConfig,
  args: argparse.Namespace,
  *,
  num_slots: int,
  max_prompt_len: int,
  max_response_len: int,
  temperature: float = 1.0,
) -> Engine:
  """An engine on one device that draws from the whole distribution.

  Args:
    config: of the model.
    args: flags of benchmarks/sampler.py; those of the cache are read.
    num_slots: B.
    max_prompt_len: of any prompt.
    max_response_len: of any response.
    temperature: 0 takes the most likely token.
  """
  return Engine(
    config,
    TextlessTokenizer(config.vocab_size),
    one_device(),
    RolloutSettings(
      tensor=1,
      max_prompt_len=max_prompt_len,
      max_response_len=max_response_len,
      temperature=temperature,
      top_p=1.0,
      top_k=0,
      min_p=0.0,
      stop_strings=(),
      repetition_window=0,
      num_slots=num_slots,
      steps_per_dispatch=args.steps_per_dispatch,
      page_size=args.page_size,
      cache_tokens=args.cache_tokens,
      cache_dtype=args.cache_dtype,
      chunk_tokens=args.chunk_tokens,
    ),
  )


def sample(
  engine: Engine,
  params: dict[str, Any],
  prompts: Sequence[Sequence[int]],
  lens: Sequence[int],
  *,
  num_per_prompt: int = 1,
  iteration: int = 0,
  poll: Callable[[], None] = lambda: None,
  on_tokens: Callable[[int, np.ndarray], None] | None = None,
) -> Iterator[Rollout]:
  """Rollouts as they end; index i × num_per_prompt + j has that many tokens."""
  groups = new_sequences(
    [
      Prompt(Problem(str(i), "", ""), "", np.int32(tokens))
      for i, tokens in enumerate(prompts)
    ],
    range(len(prompts)),
    num_per_prompt=num_per_prompt,
    iteration=iteration,
    max_len=lens,
  )
  return engine.run(params, groups, seed=0, poll=poll, on_tokens=on_tokens)


def one_device() -> jax.sharding.Mesh:
  """A mesh of the first device."""
  return make_mesh(
    MeshSettings(data=1, fsdp=1, context=1, tensor=1), devices=jax.devices()[:1]
  )
