"""Display of verdicts on Lean files: on the terminal, or as JSON lines.

In: files with their verdicts, one after the other. Out: text or JSON lines, and
at the end a table of the number of files by verdict. Only counts are kept.
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

from kimina_jax.check.files import STDIN, LeanFile
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
# Verdicts on a statement rather than on its proof.
_OF_STATEMENTS = (Status.STATEMENT_MISMATCH, Status.INFRA_ERROR)
_OWN_HINT = (
  "without --problems a statement must stand at the top level of its file and "
  "use none of its definitions"
)
_OWN_STATEMENTS = (
  "without --problems the statement is taken from each file: sorry, axioms and "
  "syntax were audited, the statement was not"
)


class CheckView:
  """Owns the terminal while files are checked.

  Attributes:
    num_files: files with an outcome, checked or not.
    num_checked: files with a verdict.
    num_proved: files that are proved.
    num_skipped: files that were not checked because of a signal.
  """

  def __init__(
    self,
    console: Console,
    *,
    checker: str,
    as_json: bool,
    quiet: bool,
  ):
    """Prints nothing yet.

    Args:
      console: where to print; plain text if it is no terminal.
      checker: name of the backend.
      as_json: print one object per file and nothing else.
      quiet: leave out the files that are proved.
    """
    self._console = console
    self._checker = checker
    self._as_json = as_json
    self._quiet = quiet
    self._counts: collections.Counter[str] = collections.Counter()
    self._has_own_statements = False
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
  def needs_file_count(self) -> bool:
    """Whether it shows a progress bar, which needs the number of files."""
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
    """Prepares a progress bar for this many files, if there are several."""
    if num_files > 1:
      self._task = self._bar.add_task("checking", total=num_files)

  def show(self, file: LeanFile, verdict: Verdict) -> None:
    """Prints the verdict on a file."""
    self._count(verdict.status)
    self._has_own_statements |= file.states_itself
    messages = tuple(map(file.locate, verdict.messages))
    verdict = dataclasses.replace(verdict, messages=messages)
    if self._as_json:
      print(
        json.dumps(verdict_to_row(file, verdict, self._checker)), flush=True
      )
    elif not (self._quiet and verdict.proved):
      _show(self._console, file, verdict)

  def refuse(self, file: LeanFile) -> None:
    """Prints why a file cannot be checked."""
    self._count(_NOT_CHECKED)
    if self._as_json:
      self._print_unchecked(file, file.error)
    path = printable(file.path)
    print(f"error: {path}: {printable(file.error)}", file=sys.stderr)

  def skip(self, file: LeanFile) -> None:
    """Counts a file that is not checked because of a signal."""
    self._count(_NOT_CHECKED)
    self.num_skipped += 1
    if self._as_json:
      self._print_unchecked(file, "stopped before")

  def summarise(self, pool: VerificationPool, *, seconds: float) -> None:
    """Prints the number of files by verdict, and statistics of the pool."""
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
    if self._has_own_statements:
      self._console.print(_OWN_STATEMENTS, soft_wrap=True)
    if (alarm := failure_alarm(stats)) and not self.num_skipped:
      self._console.print(Text(alarm, "bold red"), soft_wrap=True)

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

  def _print_unchecked(self, file: LeanFile, why: str) -> None:
    no_verdict = Verdict(Status.INFRA_ERROR, detail=why)
    row = verdict_to_row(file, no_verdict, self._checker) | {
      "status": _NOT_CHECKED
    }
    print(json.dumps(row), flush=True)


def verdict_to_row(
  file: LeanFile, verdict: Verdict, checker: str
) -> dict[str, Any]:
  """The outcome of one file, for JSON.

  Args:
    file: the file.
    verdict: with positions in the file.
    checker: name of the backend.

  Returns:
    file: path. name: of the problem. statement_from: `file` or `problems`.
    proved, status, detail, notes, messages, axioms, confirmed, queue_s, load_s,
    exec_s: of the verdict; the status is `not_checked` if there is none.
    checker: as given.
  """
  row = {
    "file": file.path,
    "name": file.problem.name if file.problem else "",
    "statement_from": "file" if file.states_itself else "problems",
    "proved": verdict.proved,
    **dataclasses.asdict(verdict),
    "checker": checker,
  }
  return row | {"status": str(verdict.status)}


def _show(console: Console, file: LeanFile, verdict: Verdict) -> None:
  path = "stdin" if file.path == STDIN else printable(file.path)
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
  if file.states_itself and verdict.status in _OF_STATEMENTS:
    text.append(f"\n  {_OWN_HINT}")
  console.print(text, soft_wrap=True)
  print_messages(console, verdict.messages, file.text, path=path)


def _table(counts: collections.Counter[str]) -> Table:
  """Number of files by verdict, in the order of Status."""
  table = Table("verdict")
  table.add_column("files", justify="right")
  for status in (*Status, _NOT_CHECKED):
    if counts[status]:
      table.add_row(status.replace("_", " "), str(counts[status]))
  table.add_section()
  table.add_row("all", str(counts.total()))
  return table
