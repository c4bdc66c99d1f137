"""A rollout on its way, and the beginning of its sequence in the cache.

In: prompts, and rollouts that were left unfinished. Out: rows for the schedule,
and Rollouts. Never touches the device.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kimina_jax.rollouts.pages import contents, num_pages
from kimina_jax.types import Prompt, Rollout


@dataclasses.dataclass(eq=False)
class Prefix:
  """All of a sequence but its last token, which the next step feeds.

  Rollouts of one prompt share it. Each takes the full pages as they are, and a
  copy of the last one if that is not full.

  Attributes:
    tokens: int32.
    contents: names of what the full pages hold.
    pages: those that are in the cache, or were ordered to be computed.
    num_users: rows in line that need it.
    fresh: whether the last order is of the dispatch that is being prepared.
  """

  tokens: np.ndarray
  contents: list[bytes]
  pages: list[int] = dataclasses.field(default_factory=list)
  num_users: int = 0
  fresh: bool = False

  def num_missing(self, page_size: int) -> int:
    """Pages that nobody ordered yet."""
    return num_pages(len(self.tokens), page_size) - len(self.pages)


@dataclasses.dataclass(eq=False)
class Row:
  """A rollout on its way.

  Attributes:
    prompt: what is asked.
    iteration: in which it began; with `index` it selects its random numbers.
    index: as in Rollout.
    max_len: tokens of the response at most.
    pieces: tokens and both log-probabilities, as they came.
    num_drawn: their number.
    num_carried: how many of them are from earlier iterations.
    prefix: what has to be in the cache before it can go on.
    pages: its own and its shares, while it is resident.
    serial: of its last admission.
    leave: why it is to leave; "" if it may stay.
    stop: why it ended; "" while it goes on.
  """

  prompt: Prompt
  iteration: int
  index: int
  max_len: int
  pieces: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)
  num_drawn: int = 0
  num_carried: int = 0
  prefix: Prefix | None = None
  pages: list[int] = dataclasses.field(default_factory=list)
  serial: int = -1
  leave: str = ""
  stop: str = ""

  @property
  def position(self) -> int:
    """Where its last token stands."""
    return len(self.prompt.tokens) - 1 + self.num_drawn

  @property
  def response(self) -> np.ndarray:
    """int32, the tokens drawn so far."""
    return self._joined(0, np.int32)

  def add(self, *drawn_T: np.ndarray) -> None:
    """Takes tokens and both log-probabilities."""
    self.pieces.append(drawn_T)
    self.num_drawn += len(drawn_T[0])

  def rollout(self, text: str) -> Rollout:
    """What the caller sees of it."""
    return Rollout(
      prompt=self.prompt,
      index=self.index,
      tokens=self.response,
      logps=self._joined(1, np.float32),
      model_logps=self._joined(2, np.float32),
      text=text,
      stop=self.stop,
      iteration=self.iteration,
      num_carried=self.num_carried,
    )

  def _joined(self, index: int, dtype: type) -> np.ndarray:
    parts = [piece[index] for piece in self.pieces]
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def start_rows(
  prompts: Sequence[Prompt],
  numbers: Sequence[int],
  *,
  num_per_prompt: int,
  iteration: int,
  max_lens: Sequence[int],
) -> list[list[Row]]:
  """A group of rows for each of the prompts with these numbers."""
  return [
    [
      Row(prompts[number], iteration, index, max_lens[index])
      for index in range(number * num_per_prompt, (number + 1) * num_per_prompt)
    ]
    for number in numbers
  ]


def resume_row(rollout: Rollout, max_len: int) -> Row:
  """A row that goes on where a rollout was left."""
  row = Row(rollout.prompt, rollout.iteration, rollout.index, max_len)
  if len(rollout.tokens):
    row.add(rollout.tokens, rollout.logps, rollout.model_logps)
  row.num_carried = row.num_drawn
  return row


def make_prefix(tokens: np.ndarray, page_size: int) -> Prefix:
  """The prefix of a sequence that has these tokens so far."""
  tokens = np.asarray(tokens[:-1], np.int32)
  return Prefix(tokens, contents(tokens, page_size))
