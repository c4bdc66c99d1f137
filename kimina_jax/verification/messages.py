"""Lean messages and verdicts as text for a terminal.

In: verdicts, Lean's messages and Lean source, all of which may hold text that
the policy wrote. Out: text without control characters, in colour if the
console is a terminal. The commands `check` and `prove` both print with it.
It decides nothing about a proof.
"""

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from kimina_jax.types import Message, Verdict

REPLACEMENT = "\ufffd"  # what undecodable bytes decode to

_MAX_PRINTED = 5  # messages of one verdict
_COLOURS = {"error": "red", "warning": "yellow"}
_LEXERS = ("lean4", "lean")  # the newest that the installed pygments has
# Controls, formats (bidirectional marks), surrogates, line separators.
_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def printable(text: str) -> str:
  """Replaces control characters, which a terminal would interpret."""
  return "".join(
    REPLACEMENT
    if unicodedata.category(char) in _UNPRINTABLE and char not in "\n\t"
    else char
    for char in text
  )


def verdict_colour(verdict: Verdict) -> str:
  """The colour of a verdict's status, as a style of rich."""
  return "green" if verdict.proved else "red"


def verdict_seconds(verdict: Verdict) -> float:
  """Seconds from the submission of a proof to its verdict."""
  return verdict.queue_s + verdict.load_s + verdict.exec_s


def verdict_remarks(verdict: Verdict) -> list[str]:
  """The lines to print of a verdict besides its status and its messages.

  These are the reason of a refusal, notes on what was changed before checking,
  the axioms, and whether the second verifier confirmed the proof.
  """
  has_error = any(message.severity == "error" for message in verdict.messages)
  remarks = [verdict.detail] if verdict.detail and not has_error else []
  remarks += [f"note: {note}" for note in verdict.notes]
  if verdict.proved or verdict.axioms:
    remarks.append(f"axioms: {', '.join(verdict.axioms) or 'none'}")
  if verdict.confirmed:
    remarks.append("a second verifier accepts it too")
  return remarks


def checker_title(backend: str) -> str:
  """The checker's name, as used within a printed sentence."""
  return "minilean, not Lean," if backend == "minilean" else "Lean"


def print_messages(
  console: Console, messages: Sequence[Message], source: str, *, path: str = ""
) -> None:
  """Prints the first messages, each with the source line it refers to.

  Args:
    console: where to print; plain text if it is no terminal.
    messages: with positions in the source.
    source: the text that was checked.
    path: of the source file, printed before each position; "" if it has none.
  """
  for message in messages[:_MAX_PRINTED]:
    console.print(format_message(message, source, path=path), soft_wrap=True)
  num_more = len(messages) - _MAX_PRINTED
  if num_more > 0:
    console.print(f"and {num_more} more messages")


def format_message(message: Message, source: str, *, path: str = "") -> Text:
  """A message in the format of compilers.

  That is position, severity and text, then the source line, then carets under
  the columns. Arguments as of `print_messages`.
  """
  style = _COLOURS.get(message.severity, "blue")
  file = f"{printable(path)}:" if path else ""
  text = Text.assemble((f"{file}{message.line}:{message.column}: ", "bold"))
  text.append(f"{message.severity}: ", f"bold {style}")
  text.append(printable(message.text))
  for line, line_style in zip(
    source_excerpt(message, source).split("\n"), ("", style), strict=False
  ):
    text.append(f"\n  {line}", line_style or None)
  return text


def source_excerpt(message: Message, source: str) -> str:
  """The source line that a message refers to, with carets under its columns.

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
  # Cells of the terminal, not characters: some characters take two.
  indent = cell_len(line[:start])
  width = max(1, cell_len(line[start:end]))
  return f"{line}\n{' ' * indent}{'^' * width}"


def highlight_lean(code: str) -> Text:
  """Lean source in colours; its characters stay the same."""
  code = printable(code)
  for name in _LEXERS:
    syntax = Syntax("", name, theme="ansi_dark", background_color="default")
    if syntax.lexer is not None:
      return syntax.highlight(code)[: len(code)]  # pygments adds a line break
  return Text(code)
