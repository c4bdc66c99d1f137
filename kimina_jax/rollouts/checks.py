"""Refuses what does not fit the model or the machine, before compilation.

In: settings, a model, a mesh, prompts. Out: nothing, or a UsageError with the
value and the remedy.
"""

from collections.abc import Sequence

from jax.sharding import Mesh

from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts.generation import Tokenizer
from kimina_jax.types import Prompt, UsageError


def lens_of(
  max_lens: Sequence[int] | None, longest: int, *, count: int
) -> Sequence[int]:
  """Tokens at most of each of `count` responses; None is the longest."""
  if max_lens is None:
    return [longest] * count
  if len(max_lens) != count:
    raise UsageError(
      f"max_lens has {len(max_lens)} lengths for {count} rollouts; give one for"
      " each"
    )
  wrong = [length for length in max_lens if not 1 <= length <= longest]
  if wrong:
    raise UsageError(
      f"a response of at most {wrong[0]} tokens was asked for; choose from 1"
      f" to rollouts.max_response_len = {longest}"
    )
  return max_lens


def slots_each(replicas: Mesh, num_slots: int) -> int:
  """The slots of one replica."""
  num_replicas = replicas.shape["data"]
  if num_slots % num_replicas:
    raise UsageError(
      f"rollouts.num_slots is {num_slots}, which the {num_replicas} replicas of"
      f" rollouts.tensor = {replicas.shape['tensor']} devices do not divide;"
      f" choose a multiple of {num_replicas}"
    )
  return num_slots // num_replicas


def check_model(config: ModelConfig, tokenizer: Tokenizer, tensor: int) -> None:
  if tokenizer.vocab_size > config.vocab_size:
    raise UsageError(
      f"the tokenizer has {tokenizer.vocab_size} tokens, model {config.name}"
      f" {config.vocab_size}; choose the tokenizer of this model"
    )
  sizes = {
    "kv heads": config.num_kv_heads,
    "query heads": config.num_q_heads,
    "ffn units": config.ffn_dim,
    "vocabulary": config.vocab_size,
  }
  faults = [f"{size} {what}" for what, size in sizes.items() if size % tensor]
  if faults:
    raise UsageError(
      f"rollouts.tensor = {tensor} does not divide {', '.join(faults)} of model"
      f" {config.name}; choose a common divisor"
    )


def check_prompt(prompt: Prompt, max_prompt_len: int) -> None:
  if len(prompt.tokens) > max_prompt_len:
    raise UsageError(
      f"the prompt of problem {prompt.problem.name!r} has"
      f" {len(prompt.tokens)} tokens, rollouts.max_prompt_len is"
      f" {max_prompt_len}; raise it or leave the problem out"
    )
