"""Sequences being sampled, on the host, and the pages that they prefill.

In: prompts, and unfinished rollouts of earlier iterations. Out: Sequences for
the scheduler, and Rollouts. It never touches the device.
"""

import dataclasses
from collections import abc

import numpy as np

from kimina_jax.rollouts.pages import num_pages, page_hashes
from kimina_jax.types import Prompt, Rollout


@dataclasses.dataclass(eq=False)
class PrefillPages:
  """The pages that have to be in the KV cache before a sequence can decode.

  They hold all its tokens but the last one, which the first decode step feeds:
  those of the prompt, and of the response as far as it was drawn before (by a
  sequence that was preempted, or in an earlier iteration). New sequences of one
  prompt share them: each takes the full pages as they are,
  and a copy of the last page if that is not full.

  Attributes:
    tokens: int32, to be computed (prefill).
    hashes: of the full pages, see `page_hashes`.
    pages: found in the prefix cache or scheduled to be computed, in order.
    num_waiting: sequences in the waiting queue that need these pages.
    in_plan: whether a page was scheduled or found for the dispatch that is
      being planned, so that the pages must not be freed.
  """

  tokens: np.ndarray
  hashes: list[bytes]
  pages: list[int] = dataclasses.field(default_factory=list)
  num_waiting: int = 0
  in_plan: bool = False

  @classmethod
  def of(cls, tokens: np.ndarray, page_size: int) -> "PrefillPages":
    """Pages of a sequence that consists of these tokens so far."""
    tokens = np.asarray(tokens[:-1], np.int32)
    return cls(tokens, page_hashes(tokens, page_size))

  def num_missing(self, page_size: int) -> int:
    """Number of pages that are not scheduled yet."""
    return num_pages(len(self.tokens), page_size) - len(self.pages)


@dataclasses.dataclass(eq=False)
class Sequence:
  """A rollout that is being sampled: its state on the host.

  Attributes:
    prompt: of the rollout.
    iteration: in which it began; with `index` it selects its random numbers.
    index: as in Rollout.
    max_len: largest number of response tokens.
    outputs: tokens and both log-probabilities of each dispatch.
    num_drawn: number of response tokens.
    num_carried: how many of them earlier iterations drew.
    pages: block table while it is running: the pages of its positions.
    admission: number of its last admission to the running set, ascending.
    abort_reason: why it is to be removed from the running set; "" if it is
      not.
    stop_reason: why it ended, as in Rollout; "" while it is unfinished.
  """

  prompt: Prompt
  iteration: int
  index: int
  max_len: int
  outputs: list[tuple[np.ndarray, ...]] = dataclasses.field(
    default_factory=list
  )
  num_drawn: int = 0
  num_carried: int = 0
  pages: list[int] = dataclasses.field(default_factory=list)
  admission: int = -1
  abort_reason: str = ""
  stop_reason: str = ""

  @property
  def position(self) -> int:
    """Position of its last token, which the next decode step feeds."""
    return len(self.prompt.tokens) - 1 + self.num_drawn

  @property
  def response(self) -> np.ndarray:
    """The tokens drawn so far, int32."""
    return self._joined(0, np.int32)

  @property
  def tokens(self) -> np.ndarray:
    """Prompt and response so far, int32."""
    return np.concatenate((self.prompt.tokens, self.response))

  def append(self, *outputs_T: np.ndarray) -> None:
    """Appends tokens and both log-probabilities."""
    self.outputs.append(outputs_T)
    self.num_drawn += len(outputs_T[0])

  def to_rollout(self, text: str) -> Rollout:
    """The rollout with what has been drawn so far; `text` is the response's."""
    return Rollout(
      prompt=self.prompt,
      index=self.index,
      tokens=self.response,
      logps=self._joined(1, np.float32),
      model_logps=self._joined(2, np.float32),
      text=text,
      stop_reason=self.stop_reason,
      iteration=self.iteration,
      num_carried=self.num_carried,
    )

  def _joined(self, field: int, dtype: type) -> np.ndarray:
    parts = [output[field] for output in self.outputs]
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def new_sequences(
  prompts: abc.Sequence[Prompt],
  numbers: abc.Iterable[int],
  *,
  num_per_prompt: int,
  iteration: int,
  max_len: int | abc.Sequence[int],
) -> list[list[Sequence]]:
  """Sequences without a response, in groups of one prompt each.

  Args:
    prompts: of the whole job.
    numbers: indices of the prompts to make sequences of.
    num_per_prompt: sequences of each prompt.
    iteration: of the run.
    max_len: largest number of response tokens: of every sequence, or by the
      index of the sequence.
  """

  def sequence(number: int, attempt: int) -> Sequence:
    index = number * num_per_prompt + attempt
    longest = max_len if isinstance(max_len, int) else max_len[index]
    return Sequence(prompts[number], iteration, index, longest)

  return [
    [sequence(number, attempt) for attempt in range(num_per_prompt)]
    for number in numbers
  ]


def resume_sequence(rollout: Rollout, max_len: int) -> Sequence:
  """A sequence that continues an unfinished rollout."""
  sequence = Sequence(rollout.prompt, rollout.iteration, rollout.index, max_len)
  if len(rollout.tokens):
    sequence.append(rollout.tokens, rollout.logps, rollout.model_logps)
  sequence.num_carried = sequence.num_drawn
  return sequence
