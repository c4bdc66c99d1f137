"""Which row sits in which slot: the host's side of continuous batching.

In: rows in line, and what the last dispatch drew. Out: admissions for the
device, and the rows that ended. Reads no clock and holds no device state but
a prefill's handle: the same inputs always give the same schedule.
"""

import collections
import dataclasses

import numpy as np

from kimina_jax.model.transformer import KVCache
from kimina_jax.rollouts.programs import Admission, Trace
from kimina_jax.types import Prompt


@dataclasses.dataclass(eq=False)
class Row:
  """A rollout on its way.

  Attributes:
    row: as in Rollout.
    index: of its prompt, among those of this process.
    prompt: what is asked.
    pieces: tokens and both log-probabilities of each dispatch so far.
    num_drawn: their number.
  """

  row: int
  index: int
  prompt: Prompt
  pieces: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)
  num_drawn: int = 0

  @property
  def position(self) -> int:
    """Where its last token stands."""
    return len(self.prompt.tokens) - 1 + self.num_drawn


@dataclasses.dataclass(frozen=True)
class Prefilled:
  """Keys and values of prompts first … end − 1, and maybe of padding."""

  cache: KVCache
  first: int
  end: int


def seat(
  table: list[Row | None],
  waiting: collections.deque[Row],
  prefilled: Prefilled,
) -> Admission:
  """Moves prefilled rows in line to idle slots, lowest slot first."""
  fields = np.zeros((4, len(table)), np.int32)
  admission = Admission(*fields)
  admission.source_B[:] = -1
  for slot, occupant in enumerate(table):
    if occupant or not waiting or waiting[0].index >= prefilled.end:
      continue
    row = table[slot] = waiting.popleft()
    admission.source_B[slot] = row.index - prefilled.first
    admission.row_B[slot] = row.row
    admission.token_B[slot] = row.prompt.tokens[-1]
    admission.position_B[slot] = row.position
  return admission


def collect(table: list[Row | None], trace: Trace) -> list[Row]:
  """Appends what was drawn; removes and returns the rows that ended."""
  ended = []
  for slot, row in enumerate(table):
    if row is None:
      continue
    num_new = trace.drawn_B[slot] - row.num_drawn
    drawn_T = (trace.tokens_TB, trace.logps_TB, trace.model_logps_TB)
    row.pieces.append(tuple(x_TB[:num_new, slot] for x_TB in drawn_T))
    row.num_drawn += num_new
    if not trace.active_B[slot]:
      ended.append(row)
      table[slot] = None
  return ended
