"""The records that flow from a problem to a gradient.

  Problem -> Prompt -> Rollout -> Extraction -> Verdict -> Sample -> Batch

Every record is frozen and made by exactly one package; later stages only
read it. This module imports nothing of ours and no JAX.
"""

import dataclasses
import enum
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

CANARY = "canary"  # the source of false statements


class UsageError(ValueError):
  """The user's input is wrong. The message holds the value and the remedy."""


def require(is_right: bool, key: str, value: object, remedy: str) -> None:
  """Raises UsageError, with value and remedy, for a wrong setting."""
  if not is_right:
    raise UsageError(f"{key} is {value}; {remedy}")


def check_numbers(
  section: str, settings: Any, *, counts: Collection[str] = ()
) -> None:
  """Raises UsageError for a number of a settings record that is out of range.

  Args:
    section: of the experiment, as in `--config.section.key`.
    settings: a dataclass of that section's keys. Its numbers have to be finite
      and not negative.
    counts: keys that have to be at least 1.
  """
  for field in dataclasses.fields(settings):
    value = getattr(settings, field.name)
    if isinstance(value, bool) or not isinstance(value, int | float):
      continue
    key, least = f"{section}.{field.name}", int(field.name in counts)
    if not math.isfinite(value):
      raise UsageError(f"{key} = {value} is not finite; set a finite number")
    if value < least:
      raise UsageError(f"{key} = {value} must be at least {least}")


class CheckerFooled(Exception):
  """A false statement was proved; no reward can be trusted.

  The message names the statement.
  """


@dataclasses.dataclass(frozen=True)
class Problem:
  """One statement to prove, as the data set gives it.

  Example:
    Problem(name="linear_int_3",
            header="import Mathlib\n\n",
            statement="theorem linear_int_3 (x : ℤ) (h : x + 2 = 5) "
                      ": x = 3 := by",
            informal="", split="train", source="linear_int")

  Attributes:
    name: unique within its data set.
    header: Lean text before the statement (imports, options, opens).
    statement: the Lean theorem up to and including `:= by`.
    informal: the problem in words; may be empty.
    split: `train`, `valid` or `test`.
    source: family or competition, for tables per source; CANARY is a false
      statement.
  """

  name: str
  header: str
  statement: str
  informal: str = ""
  split: str = "train"
  source: str = ""

  @property
  def is_canary(self) -> bool:
    """Whether it is a canary: a deliberately false statement."""
    return self.source == CANARY


@dataclasses.dataclass(frozen=True)
class Demonstration:
  """A problem with a response to imitate (cold start, distillation).

  Example:
    Demonstration(problem, response="<think>\n…</think>\n```lean4\n…\n```")
  """

  problem: Problem
  response: str


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
  """A problem in the chat template, ready for the model.

  Attributes:
    problem: the problem to prove.
    text: the whole prompt, up to and including the assistant's marker.
    tokens: int32 [prompt length].
  """

  problem: Problem
  text: str
  tokens: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Rollout:
  """One response of the policy.

  Attributes:
    prompt: the prompt of the response.
    index: its number in the iteration in which it began: problem index × k +
      attempt.
    tokens: int32 [response length], with the stop token if there is one.
    logps: float32, log-probability of each token under the distribution it
      was drawn from (after temperature and top-p).
    model_logps: float32, log-probability of each token under the model.
    text: the response without the stop token, or up to the stop string.
    stop_reason: `stop` (the stop token), `string` (a stop string), `length`
      (cut at the maximum), `repetition` (the end repeats itself) or `budget`
      (unfinished: the token budget of the iteration was used up).
    iteration: the iteration in which it began. Iteration and index select its
      stream of random numbers.
    num_carried: how many of its tokens earlier iterations drew, with earlier
      weights.
  """

  prompt: Prompt
  index: int
  tokens: np.ndarray
  logps: np.ndarray
  model_logps: np.ndarray
  text: str
  stop_reason: str
  iteration: int = 0
  num_carried: int = 0

  @property
  def finished(self) -> bool:
    """Whether sampling is complete; a `budget` rollout is resumed later."""
    return self.stop_reason != "budget"


@dataclasses.dataclass(frozen=True)
class Extraction:
  """A response taken apart at its markers.

  Example:
    Extraction(thought="First … ```tactics\nnorm_num\n``` …",
               tactics=("norm_num",),
               final="import Mathlib\n\ntheorem t : 1 < 2 := by\n  norm_num",
               error="")

  Attributes:
    thought: text between `<think>` and `</think>`.
    tactics: contents of the `tactics` blocks inside the thought, in order.
    final: content of the final `lean4` block; empty if there is none.
    error: empty, or the first rule of the pattern that the response breaks.
  """

  thought: str = ""
  tactics: tuple[str, ...] = ()
  final: str = ""
  error: str = ""


class Status(enum.StrEnum):
  """Outcome of a verification. Only PROVED earns a reward.

  INFRA_ERROR is a failure of the infrastructure, DISPUTED a proof that the
  checker accepted and a second verifier rejected: such samples are excluded
  instead of being rewarded 0.
  """

  PROVED = "proved"
  LEAN_ERROR = "lean_error"
  HAS_SORRY = "has_sorry"
  DISALLOWED_AXIOM = "disallowed_axiom"
  STATEMENT_MISMATCH = "statement_mismatch"
  MISSING_THEOREM = "missing_theorem"
  FORBIDDEN_SYNTAX = "forbidden_syntax"
  MALFORMED = "malformed"
  TIMEOUT = "timeout"
  OUT_OF_MEMORY = "out_of_memory"
  CRASH = "crash"
  PROTOCOL_VIOLATION = "protocol_violation"
  INFRA_ERROR = "infra_error"
  DISPUTED = "disputed"


@dataclasses.dataclass(frozen=True)
class Message:
  """One message of Lean, positions mapped to the response's final block.

  Attributes:
    severity: `error`, `warning` or `info`.
    line: 1-based.
    column: 0-based, in code points.
    end_line: as `line`, or 0 if Lean gave no end.
    end_column: as `column`.
    text: of the message.
  """

  severity: str
  line: int
  column: int
  end_line: int
  end_column: int
  text: str


@dataclasses.dataclass(frozen=True)
class Verdict:
  """The checker's result on one response; failures are verdicts too.

  Example:
    Verdict(Status.LEAN_ERROR,
            messages=(Message("error", 3, 2, 3, 10, "unsolved goals …"),),
            exec_s=0.02)

  Attributes:
    status: how it ended.
    messages: Lean's messages.
    axioms: axioms that the audited theorem rests on.
    detail: for refusals without a Lean message: the rule and the offending
      text.
    notes: what was changed before checking, such as a limit brought down.
    confirmed: whether a second verifier accepts the proof too.
    queue_s: seconds spent waiting for a worker.
    load_s: seconds spent starting a worker and importing the header.
    exec_s: seconds spent checking.
  """

  status: Status
  messages: tuple[Message, ...] = ()
  axioms: tuple[str, ...] = ()
  detail: str = ""
  notes: tuple[str, ...] = ()
  confirmed: bool = False
  queue_s: float = 0.0
  load_s: float = 0.0
  exec_s: float = 0.0

  @property
  def proved(self) -> bool:
    return self.status is Status.PROVED

  @classmethod
  def from_json(cls, fields: Mapping[str, Any]) -> Self:
    """The inverse of `dataclasses.asdict` after a round trip through JSON."""
    return cls(
      **{
        **fields,
        "status": Status(fields["status"]),
        "messages": tuple(Message(**m) for m in fields["messages"]),
        "axioms": tuple(fields["axioms"]),
        "notes": tuple(fields["notes"]),
      }
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """A judged rollout: the unit that the policy gradient averages over.

  Attributes:
    rollout: the response.
    verdict: the checker's result.
    format_error: empty, or why the format gate refused the response.
    reward: 0 or 1 (shaped rewards may lie between or below); None if the
      sample is excluded from its group.
    advantage: reward minus the group's baseline; 0 if excluded.
    dropped: excluded from the loss, yet counted in the group's baseline.
  """

  rollout: Rollout
  verdict: Verdict
  format_error: str = ""
  reward: float | None = None
  advantage: float = 0.0
  dropped: bool = False


class Batch(NamedTuple):
  """Packed sequences: B rows of T tokens, at most M sequences in a row.

  A NamedTuple, so that JAX sees a pytree; arrays are NumPy before they are
  put on devices and jax.Array after.

  Sequence m of row b is segment m + 1: the tokens with `segments_BT[b] == m +
  1`; segment 0 is padding. A value about a token (`response_BT`,
  `old_logp_BT`) is stored at that token's position: `logp_BT[b, t]` is the
  log-probability of `tokens_BT[b, t]` given the tokens before it in its
  segment.

  Attributes:
    tokens_BT: int32.
    positions_BT: int32, from 0 within each segment.
    segments_BT: int32.
    response_BT: float32, 1 on response tokens to learn from, else 0.
    advantage_BM: float32.
    weight_BM: float32, 1 if the sequence counts in the loss, 0 if it is
      dropped, excluded or absent.
    old_logp_BT: float32, log π_old by the trainer's own forward.
    sampler_logp_BT: float32, log-probability by the sampler (Rollout.logps).
  """

  tokens_BT: Any
  positions_BT: Any
  segments_BT: Any
  response_BT: Any
  advantage_BM: Any
  weight_BM: Any
  old_logp_BT: Any
  sampler_logp_BT: Any
