"""Settings of the sampler, and the sizes that follow from them.

In: the `rollouts` section of a config, and the number of replicas. Out:
RolloutSettings, and the EngineSizes that engine and scaling study share; or a
UsageError with the value and the remedy, before anything is compiled.
"""

import dataclasses
from collections.abc import Sequence

from kimina_jax.model import kv_quantization
from kimina_jax.model.config import ModelConfig, check_vocabulary
from kimina_jax.rollouts.pages import num_pages
from kimina_jax.types import UsageError, check_numbers, require

# A dispatch runs all slots, or so many times fewer when few sequences are left,
# unless those would be fewer than _MIN_WIDTH. Each width is a compilation.
_WIDTH_DIVISORS = (1, 8)
_MIN_WIDTH = 4


@dataclasses.dataclass(frozen=True)
class RolloutSettings:
  """Sampling, scheduling and memory: the `rollouts` section.

  Attributes:
    tensor: devices of one replica, over which attention heads, feed-forward
      units and the vocabulary are split.
    max_prompt_len: tokens; a longer prompt is an error.
    max_response_len: tokens, the stop token included.
    temperature: divides the logits; 0 takes the most likely token.
    top_p: probability mass of the nucleus, in (0, 1].
    top_k: number of tokens to keep; 0 keeps all.
    min_p: least probability relative to the largest; 0 keeps all.
    stop_strings: texts that end a response and are no part of it.
    repetition_window: a response ends when this many tokens repeat, see
      stops.StopRules; 0 turns the detection off.
    num_slots: decode slots of the whole job, a multiple of the replicas.
    steps_per_dispatch: decode steps of one program call.
    page_size: positions of a page of the KV cache.
    cache_tokens: positions of the KV cache of a replica; 0 makes room for the
      longest sequence in every slot.
    cache_dtype: of the KV cache, one of kv_quantization.CACHE_DTYPES.
    chunk_tokens: of prompts, computed along with a decode step (chunked
      prefill); rounded down to pages.
  """

  tensor: int
  max_prompt_len: int
  max_response_len: int
  temperature: float
  top_p: float
  top_k: int
  min_p: float
  stop_strings: Sequence[str]
  repetition_window: int
  num_slots: int
  steps_per_dispatch: int
  page_size: int
  cache_tokens: int
  cache_dtype: str
  chunk_tokens: int

  def __post_init__(self) -> None:
    check_numbers(
      "rollouts",
      self,
      counts=(
        "tensor",
        "max_prompt_len",
        "max_response_len",
        "num_slots",
        "steps_per_dispatch",
        "page_size",
        "chunk_tokens",
      ),
    )
    self._require(
      0 < self.top_p <= 1, "top_p", "choose a mass above 0 and at most 1"
    )
    self._require(
      self.min_p <= 1,
      "min_p",
      "choose a share of the largest probability, at most 1, or 0 for none",
    )
    self._require(
      self.repetition_window == 0 or self.repetition_window >= 4,
      "repetition_window",
      "choose at least 4 tokens, or 0 to turn the detection off",
    )
    self._require(
      self.cache_dtype in kv_quantization.CACHE_DTYPES,
      "cache_dtype",
      f"choose one of {', '.join(kv_quantization.CACHE_DTYPES)}",
    )
    self._require(
      all(self.stop_strings),
      "stop_strings",
      "an empty text would end every response: leave it out",
    )

  @property
  def max_sequence_len(self) -> int:
    """Positions of the longest sequence: a prompt and its response."""
    return self.max_prompt_len + self.max_response_len

  def _require(self, is_right: bool, name: str, remedy: str) -> None:
    require(is_right, f"rollouts.{name}", repr(getattr(self, name)), remedy)


@dataclasses.dataclass(frozen=True)
class EngineSizes:
  """Sizes of each replica of the sampler, derived from the settings.

  Attributes:
    num_slots: B, decode slots.
    num_running: Q, sequences that hold pages. Twice the slots, so that a slot
      whose sequence ends takes another one at the next decode step.
    num_steps: T, decode steps of a dispatch without chunks.
    num_chunks: C, pages of prompts that a dispatch with chunks computes.
    page_size: O, positions of a page.
    num_pages: P, pages of the KV cache.
    table_len: J, pages of the longest sequence.
    dispatch_widths: numbers of slots that a dispatch may run, ascending; the
      last one is num_slots.
  """

  num_slots: int
  num_running: int
  num_steps: int
  num_chunks: int
  page_size: int
  num_pages: int
  table_len: int
  dispatch_widths: tuple[int, ...]


def engine_sizes(
  settings: RolloutSettings, *, num_replicas: int
) -> EngineSizes:
  """Sizes of each of the job's replicas.

  Raises:
    UsageError: the replicas do not divide the slots, or the KV cache does not
      hold the longest sequence.
  """
  if settings.num_slots % num_replicas:
    raise UsageError(
      f"rollouts.num_slots is {settings.num_slots}, which the {num_replicas}"
      f" replicas of rollouts.tensor = {settings.tensor} devices do not divide;"
      f" choose a multiple of {num_replicas}"
    )
  num_slots = settings.num_slots // num_replicas
  widths = {-(-num_slots // divisor) for divisor in _WIDTH_DIVISORS}
  return EngineSizes(
    num_slots=num_slots,
    num_running=2 * num_slots,
    num_steps=settings.steps_per_dispatch,
    num_chunks=max(1, settings.chunk_tokens // settings.page_size),
    page_size=settings.page_size,
    num_pages=num_cache_pages(
      settings.cache_tokens,
      page_size=settings.page_size,
      max_sequence_len=settings.max_sequence_len,
      num_slots=num_slots,
    ),
    table_len=num_pages(settings.max_sequence_len, settings.page_size),
    dispatch_widths=tuple(
      sorted(w for w in widths if w >= _MIN_WIDTH or w == num_slots)
    ),
  )


def num_cache_pages(
  cache_tokens: int, *, page_size: int, max_sequence_len: int, num_slots: int
) -> int:
  """Pages of the KV cache of one replica.

  Args:
    cache_tokens: positions to hold; 0 makes room for `num_slots` sequences of
      the greatest length.
    page_size: positions of a page.
    max_sequence_len: positions of the longest sequence.
    num_slots: of the replica.

  Raises:
    UsageError: they do not hold the longest sequence.
  """
  # One more: a sequence takes a copy of its prompt's last page while the prompt
  # still holds the original.
  least = num_pages(max_sequence_len, page_size) + 1
  if not cache_tokens:
    return num_slots * least
  found = cache_tokens // page_size
  if found < least:
    raise UsageError(
      f"rollouts.cache_tokens is {cache_tokens}, which is {found} pages of"
      f" {page_size}; the longest rollout needs {least}: choose at least"
      f" {least * page_size}, or 0 for room for all slots"
    )
  return found


def check_model(
  settings: RolloutSettings, config: ModelConfig, *, num_tokens: int
) -> None:
  """Refuses settings and a tokenizer that do not fit the model.

  Args:
    settings: whose `tensor` has to divide the model.
    config: of the model.
    num_tokens: vocabulary of the tokenizer.

  Raises:
    UsageError: names the sizes and the remedy.
  """
  check_vocabulary(config, num_tokens)
  sizes = {
    "kv heads": config.num_kv_heads,
    "query heads": config.num_q_heads,
    "ffn units": config.ffn_dim,
    "vocabulary": config.vocab_size,
  }
  tensor = settings.tensor
  faults = [f"{size} {what}" for what, size in sizes.items() if size % tensor]
  if faults:
    raise UsageError(
      f"rollouts.tensor = {tensor} does not divide {', '.join(faults)} of model"
      f" {config.name}; choose a common divisor"
    )
