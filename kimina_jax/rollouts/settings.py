"""How to sample, and with how much memory: the `rollouts` section of a config.

In: values. Out: Settings, or a UsageError with the value and the remedy. Knows
neither the model nor the machine; what does not fit them, checks.py refuses.
"""

import dataclasses
import math
from collections.abc import Sequence

from kimina_jax.model import kv_quantization
from kimina_jax.types import require

_COUNTS = (
  *("tensor", "max_prompt_len", "max_response_len", "num_slots"),
  *("steps_per_dispatch", "page_size", "chunk_tokens"),
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of one engine.

  Attributes:
    tensor: devices of one replica, over which its heads are split.
    max_prompt_len: tokens; a longer prompt is an error.
    max_response_len: tokens, the stop token included.
    temperature: of the draws; 0 takes the most likely token.
    top_p: mass of the nucleus, in (0, 1].
    top_k: how many tokens to keep; 0 is all.
    min_p: least probability relative to the largest; 0 is none.
    stop_strings: texts that end a response and are no part of it.
    repetition_window: see stops.Rules; 0 never looks.
    num_slots: lanes of the whole job, a multiple of the replicas.
    steps_per_dispatch: tokens per lane between two looks of the host.
    page_size: positions of a page.
    cache_tokens: positions of a replica's cache; 0 is room for all its lanes
      at the longest.
    cache_dtype: of kv_quantization.DTYPES.
    chunk_tokens: of prompts, computed along with a step; rounded to pages.
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

  def __post_init__(self):
    for name in _COUNTS:
      size = getattr(self, name)
      _check(size >= 1, name, size, "it must be at least 1")
    _check_draws(self)
    _check(
      self.repetition_window == 0 or self.repetition_window >= 4,
      "repetition_window",
      self.repetition_window,
      "choose at least 4 tokens, or 0 for no detector",
    )
    _check(
      self.cache_dtype in kv_quantization.DTYPES,
      "cache_dtype",
      repr(self.cache_dtype),
      f"choose one of {', '.join(kv_quantization.DTYPES)}",
    )

  @property
  def longest(self) -> int:
    """Positions of the longest sequence."""
    return self.max_prompt_len + self.max_response_len


def _check_draws(settings: Settings) -> None:
  _check(
    0 <= settings.temperature < math.inf,
    "temperature",
    settings.temperature,
    "choose 0 (most likely token) or a positive number",
  )
  _check(
    0 < settings.top_p <= 1,
    "top_p",
    settings.top_p,
    "choose a mass above 0 and at most 1",
  )
  _check(
    settings.top_k >= 0,
    "top_k",
    settings.top_k,
    "choose a number of tokens, or 0 for all",
  )
  _check(
    0 <= settings.min_p <= 1,
    "min_p",
    settings.min_p,
    "choose a share of the largest probability, at most 1, or 0 for none",
  )


def _check(is_right: bool, name: str, value: object, remedy: str) -> None:
  require(is_right, f"rollouts.{name}", value, remedy)
