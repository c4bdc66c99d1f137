"""What became of Lean files, for people and for programs.

In: files with their verdicts, one after the other. Out: text on the terminal,
or JSON lines; at the end a table of how many ended how. It keeps counts alone,
and it never judges.
"""

import collections
import dataclasses
import json
import sys
from typing import Any, Self

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kimina_jax.check.files import STDIN, Entry
from kimina_jax.types import Status, Verdict
from kimina_jax.verification.messages import (
  checker_title,
  print_messages,
  printable,
  verdict_colour,
  verdict_remarks,
  verdict_seconds,
)
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.stats import failure_alarm, merge_stats

_NOT_CHECKED = "not_checked"
# Verdicts that are about a statement rather than about its proof.
_OF_STATEMENTS = (Status.STATEMENT_MISMATCH, Status.INFRA_ERROR)
_OWN_HINT = (
  "without --problems a statement must stand at the top level of its file and "
  "use none of its definitions"
)
_OWN_STATEMENTS = (
  "without --problems each file says itself what it proves: sorry, axioms and "
  "syntax were audited, the statement was not"
)


class View:
  """Owns the terminal while files are checked.

  Attributes:
    num_files: that something became of.
    num_checked: that have a verdict.
    num_proved: that are proved.
    num_skipped: that a signal came before.
  """

  def __init__(
    self,
    console: Console,
    *,
    checker: str,
    as_json: bool,
    quiet: bool,
  ):
    """Shows nothing yet.

    Args:
      console: plain text, if it is no terminal.
      checker: its backend.
      as_json: prints one object for each file, and nothing else.
      quiet: leaves out the files that are proved.
    """
    self._console = console
    self._checker = checker
    self._as_json = as_json
    self._quiet = quiet
    self._counts: collections.Counter[str] = collections.Counter()
    self._saw_own_statement = False
    self.num_skipped = 0
    self._bar = progress.Progress(
      progress.TextColumn("checking"),
      progress.BarColumn(),
      progress.MofNCompleteColumn(),
      progress.TimeRemainingColumn(),
      console=console,
      transient=True,
      redirect_stderr=sys.stderr.isatty(),
    )
    self._task: progress.TaskID | None = None

  @property
  def counts_files(self) -> bool:
    """Whether it wants to know how many files will come."""
    return self._console.is_terminal and not self._as_json

  @property
  def num_files(self) -> int:
    return self._counts.total()

  @property
  def num_checked(self) -> int:
    return self.num_files - self._counts[_NOT_CHECKED]

  @property
  def num_proved(self) -> int:
    return self._counts[Status.PROVED]

  def expect(self, num_files: int) -> None:
    """Shows a bar, if that many are worth one."""
    if num_files > 1:
      self._task = self._bar.add_task("checking", total=num_files)

  def show(self, entry: Entry, verdict: Verdict) -> None:
    """Shows the verdict on a file."""
    self._count(verdict.status)
    self._saw_own_statement |= entry.states_itself
    messages = tuple(map(entry.locate, verdict.messages))
    verdict = dataclasses.replace(verdict, messages=messages)
    if self._as_json:
      print(json.dumps(to_row(entry, verdict, self._checker)), flush=True)
    elif not (self._quiet and verdict.proved):
      _show(self._console, entry, verdict)

  def refuse(self, entry: Entry) -> None:
    """Says why a file is not checked."""
    self._count(_NOT_CHECKED)
    if self._as_json:
      self._print_unchecked(entry, entry.error)
    path = printable(entry.path)
    print(f"error: {path}: {printable(entry.error)}", file=sys.stderr)

  def skip(self, entry: Entry) -> None:
    """Counts a file that a signal came before."""
    self._count(_NOT_CHECKED)
    self.num_skipped += 1
    if self._as_json:
      self._print_unchecked(entry, "stopped before")

  def sum_up(self, pool: VerificationPool, *, seconds: float) -> None:
    """Shows how many files ended how, and how the checker did."""
    if self._as_json or not self.num_checked:
      return
    stats = merge_stats([pool.stats()])
    self._console.print(_table(self._counts))
    self._console.print(
      f"{self.num_files} files in {seconds:.2f} s, checked by "
      f"{checker_title(self._checker).rstrip(',')}; isolation "
      f"{pool.isolation}, workers busy {stats['utilisation']:.0%} of the time",
      soft_wrap=True,
    )
    if self._saw_own_statement:
      self._console.print(_OWN_STATEMENTS, soft_wrap=True)
    if (words := failure_alarm(stats)) and not self.num_skipped:
      self._console.print(Text(words, "bold red"), soft_wrap=True)

  def __enter__(self) -> Self:
    if self._task is not None:
      self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    if self._task is not None:
      self._bar.stop()

  def _count(self, status: str) -> None:
    self._counts[status] += 1
    if self._task is not None:
      self._bar.advance(self._task)

  def _print_unchecked(self, entry: Entry, why: str) -> None:
    nothing = Verdict(Status.INFRA_ERROR, detail=why)
    row = to_row(entry, nothing, self._checker) | {"status": _NOT_CHECKED}
    print(json.dumps(row), flush=True)


def to_row(entry: Entry, verdict: Verdict, checker: str) -> dict[str, Any]:
  """The outcome of one file, for JSON.

  Args:
    entry: the file.
    verdict: with positions in the file.
    checker: its backend.

  Returns:
    file, name: what was checked. statement_from: `file` or `problems`.
    proved, status, detail, notes, messages, axioms, confirmed, queue_s, load_s,
    exec_s: of the verdict, or `not_checked` as status if there is none.
    checker: as given.
  """
  row = {
    "file": entry.path,
    "name": entry.problem.name if entry.problem else "",
    "statement_from": "file" if entry.states_itself else "problems",
    "proved": verdict.proved,
    **dataclasses.asdict(verdict),
    "checker": checker,
  }
  return row | {"status": str(verdict.status)}


def _show(console: Console, entry: Entry, verdict: Verdict) -> None:
  path = "stdin" if entry.path == STDIN else printable(entry.path)
  colour = verdict_colour(verdict)
  seconds = verdict_seconds(verdict)
  text = Text.assemble((f"{path}: ", "bold"))
  text.append(verdict.status, f"bold {colour}")
  text.append(
    f" in {seconds:.2f} s (waiting {verdict.queue_s:.2f}, loading "
    f"{verdict.load_s:.2f}, checking {verdict.exec_s:.2f})"
  )
  for remark in verdict_remarks(verdict):
    text.append(f"\n  {printable(remark)}")
  if entry.states_itself and verdict.status in _OF_STATEMENTS:
    text.append(f"\n  {_OWN_HINT}")
  console.print(text, soft_wrap=True)
  print_messages(console, verdict.messages, entry.text, path=path)


def _table(counts: collections.Counter[str]) -> Table:
  """Verdicts in the order of Status, with their numbers."""
  table = Table("verdict")
  table.add_column("files", justify="right")
  for status in (*Status, _NOT_CHECKED):
    if counts[status]:
      table.add_row(status.replace("_", " "), str(counts[status]))
  table.add_section()
  table.add_row("all", str(counts.total()))
  return table
