"""A tiny model, its tokenizer, prompts and engines, for test_engine.py."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.rollouts.engine import Engine, GenerationStream
from kimina_jax.rollouts.sequence import new_sequences
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.types import Problem, Prompt

STOP_ID = 3
MAX_PROMPT_LEN = 40
MAX_RESPONSE_LEN = 48
CONFIG = ModelConfig(
  name="tiny",
  vocab_size=64,
  model_dim=32,
  num_layers=2,
  num_q_heads=4,
  num_kv_heads=2,
  head_dim=8,
  ffn_dim=48,
  tied=False,
  rope_theta=1e4,
  norm_eps=1e-6,
  max_position=512,
  param_dtype="float32",
  compute_dtype="float32",
  remat="none",
)


class LetterTokenizer:
  """Token i is the i-th letter after `@`."""

  vocab_size = 64
  stop_id = STOP_ID

  def decode(self, ids: np.ndarray) -> str:
    return "".join(chr(ord("@") + token) for token in ids)

  def token_bytes(self) -> list[bytes]:
    return [self.decode([token]).encode() for token in range(self.vocab_size)]


def options(**changes: Any) -> RolloutSettings:
  options = {
    "tensor": 1,
    "max_prompt_len": MAX_PROMPT_LEN,
    "max_response_len": MAX_RESPONSE_LEN,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "stop_strings": (),
    "repetition_window": 0,
    "page_size": 8,
    "cache_tokens": 0,
    "cache_dtype": "auto",
    "chunk_tokens": 32,
    "num_slots": 4,
    "steps_per_dispatch": 8,
  }
  return RolloutSettings(**{**options, **changes})


@functools.cache
def _shared_engine(settings: RolloutSettings) -> Engine:
  return Engine(CONFIG, LetterTokenizer(), one_device(), settings)


def make_engine(**changes: Any) -> Engine:
  """One engine per set of options, since each compiles its own programs."""
  return _shared_engine(options(**changes))


def generate(
  engine: Engine,
  *,
  params=None,
  prompts=None,
  num_per_prompt: int = 3,
  seed: int = 0,
  iteration: int = 0,
  max_lens: Sequence[int] | None = None,
  **more: Any,
) -> GenerationStream:
  """`engine.generate` with defaults; max_lens are by index of the rollout."""
  params = draw_params(one_device()) if params is None else params
  prompts = some_prompts() if prompts is None else prompts
  numbering = {"num_per_prompt": num_per_prompt, "iteration": iteration}
  if max_lens is None:
    return engine.generate(params, prompts, seed=seed, **numbering, **more)
  groups = new_sequences(
    prompts, range(len(prompts)), max_len=max_lens, **numbering
  )
  return engine.run(params, groups, seed=seed, **more)


@functools.cache
def one_device() -> jax.sharding.Mesh:
  return make_mesh(
    MeshSettings(data=1, fsdp=1, context=1, tensor=1), devices=jax.devices()[:1]
  )


@functools.cache
def draw_params(mesh: jax.sharding.Mesh) -> dict[str, Any]:
  """Random weights, biases and norms included, in decode layout."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf, sharding: jax.device_put(
      0.2 * rng.standard_normal(leaf.shape, np.float32), sharding
    ),
    abstract_params(CONFIG),
    param_shardings(CONFIG, mesh, "decode"),
  )


@functools.cache
def some_prompts() -> list[Prompt]:
  """The shortest and the longest allowed, and three between."""
  rng = np.random.default_rng(1)
  return [draw_prompt(rng, length) for length in (1, MAX_PROMPT_LEN, 5, 30, 9)]


def draw_prompt(rng: np.random.Generator, length: int = 0) -> Prompt:
  length = length or int(rng.integers(1, MAX_PROMPT_LEN + 1))
  tokens = rng.integers(4, 64, length).astype(np.int32)
  return Prompt(Problem(f"problem_{length}", "", ""), "", tokens)


def by_index(rollouts):
  return sorted(rollouts, key=lambda rollout: rollout.index)


def assert_same(ours, theirs) -> None:
  assert [rollout.index for rollout in ours] == [r.index for r in theirs]
  for mine, other in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(mine.tokens, other.tokens)
    np.testing.assert_allclose(mine.logps, other.logps, atol=1e-5)
    assert (mine.text, mine.stop_reason) == (other.text, other.stop_reason)
