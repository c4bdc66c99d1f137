"""Display of attempts at a proof: on the terminal, or as a JSON record.

In: tokens as they are sampled, then verdicts. Out: text on the terminal, or one
record for JSON. Colours are used only on a terminal, and text of the policy or
of the checker is printed without control codes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from kimina_jax.types import Problem, Rollout, Verdict
from kimina_jax.verification.messages import (
  REPLACEMENT,
  checker_title,
  print_messages,
  printable,
  verdict_colour,
  verdict_remarks,
  verdict_seconds,
)


class ProofAttempt(NamedTuple):
  """A sampled response and its verdict.

  Attributes:
    number: of the attempt, from 1.
    rollout: the response.
    final: the Lean block of the response, to which the positions of the
      verdict's messages refer.
    verdict: of the checker.
  """

  number: int
  rollout: Rollout
  final: str
  verdict: Verdict


class StreamingDetokenizer:
  """Decodes a growing sequence of tokens to text, piece by piece.

  Example:
    detokenizer = StreamingDetokenizer(tokenizer.decode)
    detokenizer.add(first), detokenizer.add(more), detokenizer.finish()
  """

  def __init__(self, decode: Callable[[np.ndarray], str]):
    self._decode = decode
    self._tokens = np.zeros(0, np.int32)
    self._num_returned = 0  # characters

  def add(self, tokens: np.ndarray) -> str:
    """The text that these tokens complete.

    A token may end within a character; bytes that do not decode yet are held
    back. All tokens are decoded anew, as a token's text depends on those before
    it.
    """
    self._tokens = np.concatenate([self._tokens, tokens])
    return self._new_text(self._decode(self._tokens).rstrip(REPLACEMENT))

  def finish(self) -> str:
    """The text that was held back; no more tokens follow."""
    return self._new_text(self._decode(self._tokens))

  def _new_text(self, text: str) -> str:
    new, self._num_returned = text[self._num_returned :], len(text)
    return new


class ProveView:
  """Owns the terminal while attempts are made."""

  def __init__(self, console: Console, *, checker: str):
    """Prints nothing yet.

    Args:
      console: where to print; a quiet one prints nothing at all.
      checker: name of the backend.
    """
    self._console = console
    self._checker = checker
    self._status = console.status("")
    self._is_mid_line = False  # the last text did not end with a line break

  def show_status(self, what: str) -> None:
    """Shows a spinner with this text until more is printed."""
    self._end_line()
    self._status.update(what)
    self._status.start()

  def print_note(self, text: str) -> None:
    self._console.print(Text(text), soft_wrap=True)

  def begin_attempt(self, number: int, total: int) -> None:
    self._console.print(Text(f"attempt {number} of {total}", "bold"))
    self.show_status("sampling")

  def print_response(self, text: str) -> None:
    """Prints a piece of the response."""
    if text:
      self._status.stop()
      self._console.out(printable(text), style="dim", highlight=False, end="")
      self._is_mid_line = not text.endswith("\n")

  def end_attempt(self, attempt: ProofAttempt) -> None:
    """Prints the verdict of an attempt."""
    self._status.stop()
    self._end_line()
    self._console.print()
    print_verdict(self._console, attempt, checker=self._checker)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self._status.stop()
    self._end_line()

  def _end_line(self) -> None:
    if self._is_mid_line:
      self._console.print()
    self._is_mid_line = False


def print_verdict(
  console: Console, attempt: ProofAttempt, *, checker: str
) -> None:
  """Prints the verdict in a box, then Lean's messages at their positions.

  Args:
    console: where to print; plain text if it is no terminal.
    attempt: with its verdict.
    checker: name of the backend.
  """
  verdict = attempt.verdict
  colour = verdict_colour(verdict)
  summary = Text("\n").join(_summary_lines(attempt, checker))
  summary.stylize(f"bold {colour}", 0, len(verdict.status))
  if console.is_terminal:
    console.print(Panel(summary, border_style=colour, expand=False))
  else:
    console.print(summary, soft_wrap=True)
  print_messages(console, verdict.messages, attempt.final)
  console.print()


def to_record(
  problem: Problem, attempt: ProofAttempt, *, checker: str, seconds: float
) -> dict[str, Any]:
  """The outcome of all attempts, for JSON.

  Args:
    problem: that was to be proved.
    attempt: the last one.
    checker: name of the backend.
    seconds: duration of all attempts.

  Returns:
    name, header, statement: of the problem. proved, attempts, seconds. checker,
    status, detail, messages, axioms, notes, confirmed: of the last verdict.
    proof: the Lean text of the last attempt, accepted only if `proved`.
  """
  verdict = attempt.verdict
  return {
    "name": problem.name,
    "header": problem.header,
    "statement": problem.statement,
    "proved": verdict.proved,
    "attempts": attempt.number,
    "seconds": round(seconds, 3),
    "checker": checker,
    "status": str(verdict.status),
    "detail": verdict.detail,
    "messages": list(map(dataclasses.asdict, verdict.messages)),
    "axioms": list(verdict.axioms),
    "notes": list(verdict.notes),
    "confirmed": verdict.confirmed,
    "proof": attempt.final,
  }


def _summary_lines(attempt: ProofAttempt, checker: str) -> list[Text]:
  """The lines about a verdict besides Lean's messages."""
  rollout, verdict = attempt.rollout, attempt.verdict
  seconds = verdict_seconds(verdict)
  lines = [
    f"{verdict.status}: attempt {attempt.number}, {len(rollout.tokens)} tokens,"
    f" checked by {checker_title(checker)} in {seconds:.2f} s"
  ]
  if rollout.stop_reason == "length":
    lines.append(f"cut at max_response_len = {len(rollout.tokens)} tokens")
  elif rollout.stop_reason != "stop":
    lines.append(f"the response was ended by: {rollout.stop_reason}")
  lines += verdict_remarks(verdict)
  return [Text(printable(line)) for line in lines]
