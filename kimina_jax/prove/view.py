"""Attempts at a proof, for people and for programs.

In: tokens as they are drawn, then verdicts. Out: text on the terminal, or one
record for JSON. Colours only where there is a terminal; what the policy or
the checker wrote never reaches it as a control code. It never judges.
"""

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from kimina_jax.types import Message, Problem, Rollout, Verdict

_NO_TEXT = "\ufffd"  # what bytes decode to that are no UTF-8, or not yet
_MAX_SHOWN = 5  # messages of a verdict
_COLOURS = {"error": "red", "warning": "yellow"}
_LEXERS = ("lean4", "lean")  # the newest that this pygments knows


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
    return self._tell(self._decode(self._tokens).rstrip(_NO_TEXT))

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
  colour = "green" if verdict.proved else "red"
  facts = Text("\n").join(_facts(attempt, checker))
  facts.stylize(f"bold {colour}", 0, len(verdict.status))
  if console.is_terminal:
    console.print(Panel(facts, border_style=colour, expand=False))
  else:
    console.print(facts, soft_wrap=True)
  show_messages(console, verdict.messages, attempt.final)
  console.print()


def show_messages(
  console: Console, messages: Sequence[Message], source: str, *, path: str = ""
) -> None:
  """The first messages, each at its place.

  Args:
    console: plain text, if it is no terminal.
    messages: with positions in the source.
    source: the text that was checked.
    path: of the source, to stand before each place.
  """
  for message in messages[:_MAX_SHOWN]:
    console.print(_complaint(message, source, path), soft_wrap=True)
  num_more = len(messages) - _MAX_SHOWN
  if num_more > 0:
    console.print(f"and {num_more} more messages")


def remarks(verdict: Verdict) -> list[str]:
  """What a verdict says besides its messages."""
  said = any(message.severity == "error" for message in verdict.messages)
  words = [verdict.detail] if verdict.detail and not said else []
  words += [f"note: {note}" for note in verdict.notes]
  if verdict.proved or verdict.axioms:
    words.append(f"axioms: {', '.join(verdict.axioms) or 'none'}")
  if verdict.confirmed:
    words.append("a second verifier accepts it too")
  return words


def checker_words(backend: str) -> str:
  """Who checks, in a sentence that goes on."""
  return "minilean, not Lean," if backend == "minilean" else "Lean"


def highlight(code: str) -> Text:
  """Lean in colours, character by character the same."""
  code = printable(code)
  for name in _LEXERS:
    syntax = Syntax("", name, theme="ansi_dark", background_color="default")
    if syntax.lexer is not None:
      return syntax.highlight(code)[: len(code)]  # it ends the last line
  return Text(code)


def point(message: Message, source: str) -> str:
  """The line that a message speaks of, with carets under the place.

  Args:
    message: with a position in the source.
    source: the text that was checked.

  Returns:
    Two lines; "" if the source has no such line.
  """
  lines = source.replace("\r\n", "\n").split("\n")
  if not 1 <= message.line <= len(lines):
    return ""
  line = printable(lines[message.line - 1]).replace("\t", " ")
  start, end = message.column, message.end_column
  if message.end_line > message.line:
    end = len(line)
  # Cells, not characters: some of them are two wide.
  indent = cell_len(line[:start])
  width = max(1, cell_len(line[start:end]))
  return f"{line}\n{' ' * indent}{'^' * width}"


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


def printable(text: str) -> str:
  """The text without what a terminal would obey instead of showing it."""
  return "".join(
    _NO_TEXT
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    and char not in "\n\t"
    else char
    for char in text
  )


def _facts(attempt: Attempt, checker: str) -> list[Text]:
  """The lines about a verdict that are not Lean's own."""
  rollout, verdict = attempt.rollout, attempt.verdict
  seconds = verdict.queue_s + verdict.load_s + verdict.exec_s
  facts = [
    f"{verdict.status}: attempt {attempt.number}, {len(rollout.tokens)} tokens,"
    f" checked by {checker_words(checker)} in {seconds:.2f} s"
  ]
  if rollout.stop == "length":
    facts.append(f"cut at max_response_len = {len(rollout.tokens)} tokens")
  elif rollout.stop != "stop":
    facts.append(f"the response was ended by: {rollout.stop}")
  facts += remarks(verdict)
  return [Text(printable(fact)) for fact in facts]


def _complaint(message: Message, source: str, path: str) -> Text:
  """As compilers put it: place, severity, words; the line; the carets."""
  style = _COLOURS.get(message.severity, "blue")
  file = f"{printable(path)}:" if path else ""
  place = f"{file}{message.line}:{message.column}: "
  text = Text.assemble((place, "bold"))
  text.append(f"{message.severity}: ", f"bold {style}")
  text.append(printable(message.text))
  for line, line_style in zip(
    point(message, source).split("\n"), ("", style), strict=False
  ):
    text.append(f"\n  {line}", line_style or None)
  return text
