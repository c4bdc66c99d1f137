"""Attempts at a proof, for people and for programs.

In: tokens as they are drawn, then verdicts. Out: text on the terminal, or one
record for JSON. Colours only where there is a terminal; what the policy or
the checker wrote never reaches it as a control code. It never judges.
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


class Attempt(NamedTuple):
  """A response, and what became of it.

  Attributes:
    number: from 1.
    rollout: what the policy wrote.
    final: its Lean block, which the verdict's messages speak of.
    verdict: what the checker said.
  """

  number: int
  rollout: Rollout
  final: str
  verdict: Verdict


class Growth:
  """A text of which more is known with every token.

  Example:
    growth = Growth(tokenizer.decode)
    growth.add(first), growth.add(more), growth.finish()
  """

  def __init__(self, decode: Callable[[np.ndarray], str]):
    self._decode = decode
    self._tokens = np.zeros(0, np.int32)
    self._num_told = 0  # characters

  def add(self, tokens: np.ndarray) -> str:
    """What is certain now and was not before.

    A token may end inside a character, so what does not decode waits for its
    rest. Decoded is the whole: a token's text depends on its place.
    """
    self._tokens = np.concatenate([self._tokens, tokens])
    return self._tell(self._decode(self._tokens).rstrip(REPLACEMENT))

  def finish(self) -> str:
    """The rest: no more tokens come."""
    return self._tell(self._decode(self._tokens))

  def _tell(self, text: str) -> str:
    news, self._num_told = text[self._num_told :], len(text)
    return news


class View:
  """Owns the terminal while attempts are made."""

  def __init__(self, console: Console, *, checker: str):
    """Shows nothing yet.

    Args:
      console: a quiet one shows nothing at all.
      checker: its backend.
    """
    self._console = console
    self._checker = checker
    self._status = console.status("")
    self._in_line = False  # the last text has not ended its line

  def wait(self, what: str) -> None:
    """Says what is being waited for, until text comes."""
    self._end_line()
    self._status.update(what)
    self._status.start()

  def note(self, text: str) -> None:
    """Says something that a reader has to know."""
    self._console.print(Text(text), soft_wrap=True)

  def begin(self, number: int, total: int) -> None:
    """Opens an attempt."""
    self._console.print(Text(f"attempt {number} of {total}", "bold"))
    self.wait("writing")

  def say(self, text: str) -> None:
    """Shows text of the response."""
    if text:
      self._status.stop()
      self._console.out(printable(text), style="dim", highlight=False, end="")
      self._in_line = not text.endswith("\n")

  def end(self, attempt: Attempt) -> None:
    """Shows how an attempt ended."""
    self._status.stop()
    self._end_line()
    self._console.print()
    show_verdict(self._console, attempt, checker=self._checker)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self._status.stop()
    self._end_line()

  def _end_line(self) -> None:
    if self._in_line:
      self._console.print()
    self._in_line = False


def show_verdict(console: Console, attempt: Attempt, *, checker: str) -> None:
  """The verdict in a box, then the messages, each at its place.

  Args:
    console: plain text, if it is no terminal.
    attempt: the one that was judged.
    checker: its backend.
  """
  verdict = attempt.verdict
  colour = verdict_colour(verdict)
  facts = Text("\n").join(_facts(attempt, checker))
  facts.stylize(f"bold {colour}", 0, len(verdict.status))
  if console.is_terminal:
    console.print(Panel(facts, border_style=colour, expand=False))
  else:
    console.print(facts, soft_wrap=True)
  print_messages(console, verdict.messages, attempt.final)
  console.print()


def record(
  problem: Problem, attempt: Attempt, *, checker: str, seconds: float
) -> dict[str, Any]:
  """What came of all attempts, for JSON.

  Args:
    problem: what was to be proved.
    attempt: the last one.
    checker: its backend.
    seconds: that all of them took.

  Returns:
    name, header, statement: of the problem. proved, attempts, seconds. checker,
    status, detail, messages, axioms, notes, confirmed: of the last verdict.
    proof: the Lean text that they speak of, accepted only if `proved` says so.
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


def _facts(attempt: Attempt, checker: str) -> list[Text]:
  """The lines about a verdict that are not Lean's own."""
  rollout, verdict = attempt.rollout, attempt.verdict
  seconds = verdict_seconds(verdict)
  facts = [
    f"{verdict.status}: attempt {attempt.number}, {len(rollout.tokens)} tokens,"
    f" checked by {checker_title(checker)} in {seconds:.2f} s"
  ]
  if rollout.stop == "length":
    facts.append(f"cut at max_response_len = {len(rollout.tokens)} tokens")
  elif rollout.stop != "stop":
    facts.append(f"the response was ended by: {rollout.stop}")
  facts += verdict_remarks(verdict)
  return [Text(printable(fact)) for fact in facts]
