"""Settings of the sampler: the `rollouts` section of a config.

In: values. Out: RolloutSettings, or a UsageError with the value and the remedy.
It knows neither the model nor the devices; the engine refuses settings that do
not fit those.
"""

import dataclasses
from collections.abc import Sequence

from kimina_jax.model import kv_quantization
from kimina_jax.types import check_numbers, require


@dataclasses.dataclass(frozen=True)
class RolloutSettings:
  """How to sample, and with how much memory.

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
    cache_dtype: of the KV cache, one of kv_quantization.DTYPES.
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
      self.cache_dtype in kv_quantization.DTYPES,
      "cache_dtype",
      f"choose one of {', '.join(kv_quantization.DTYPES)}",
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
