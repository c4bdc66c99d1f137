"""Checking of Lean files: which of them hold proofs.

In: files as files.py finds them, and a VerificationPool. Out: a verdict on each
file, shown in the order of the files, with Lean's messages at their positions.
Not more than about a thousand files are in memory at a time; none is written.
"""

import collections
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from kimina_jax.check.files import LeanFile, find_files, load_file
from kimina_jax.check.view import CheckView
from kimina_jax.infra import interruption
from kimina_jax.problems import dataset
from kimina_jax.types import Extraction, Problem, Status, UsageError
from kimina_jax.verification.pool import (
  VerdictFuture,
  VerificationPool,
  wait_for_verdict,
)
from kimina_jax.verification.settings import CheckerSettings

# Files that are read before the verdict on the first of them is shown.
_MAX_AHEAD = 1024

_Waiting = collections.deque[tuple[LeanFile, VerdictFuture | None]]


def run_check(
  arguments: Sequence[str],
  settings: CheckerSettings,
  *,
  problems_path: str = "",
  confirm: bool = False,
  as_json: bool = False,
  quiet: bool = False,
) -> int:
  """Checks the files of a command line and prints the verdicts.

  Args:
    arguments: files, directories, or `-` for stdin.
    settings: of the checker.
    problems_path: JSONL file of the statements to be proved; "" takes the
      statement from each file.
    confirm: whether the second verifier must confirm each proof.
    as_json: print one JSON object per file.
    quiet: leave out files that are proved.

  Returns:
    Exit code: 0 if all files are proved, 2 if not, 1 if nothing could be
    checked, 130 or 143 after SIGINT or SIGTERM.
  """
  if not arguments:
    raise UsageError("no file given: name Lean files, directories or -")
  if confirm and not settings.second_command:
    raise UsageError(
      "--confirm needs a second verifier, and there is none: set"
      " --config.checker.second_command"
    )
  view = CheckView(
    Console(highlight=False),
    checker=settings.backend,
    as_json=as_json,
    quiet=quiet,
  )
  problems = _load_problems(problems_path)
  with VerificationPool(settings) as pool:
    interruption.defer()
    if view.needs_file_count:
      view.expect(sum(1 for _ in find_files(arguments)))
    started_s = time.monotonic()
    with view:
      signal_name = check_files(
        pool,
        find_files(arguments),
        problems,
        settings=settings,
        confirm=confirm,
        view=view,
      )
    view.summarise(pool, seconds=time.monotonic() - started_s)
  if signal_name:
    print(_interruption_notice(signal_name, settings, view), file=sys.stderr)
    return 130 if signal_name == "SIGINT" else 143
  if not view.num_checked:
    return 1
  return 0 if view.num_proved == view.num_files else 2


def check_files(
  pool: VerificationPool,
  files: Iterator[LeanFile],
  problems: Mapping[str, Problem] | None,
  *,
  settings: CheckerSettings,
  confirm: bool,
  view: CheckView,
) -> str:
  """Checks files and shows the verdicts in the order of the files.

  Args:
    pool: of checkers; after a signal it accepts no more proofs.
    files: unread.
    problems: by name; None takes the statement from each file.
    settings: of the pool.
    confirm: whether the second verifier must confirm each proof.
    view: shows the outcome of each file.

  Returns:
    Name of the signal that ended it; "" if all files have been checked.
  """
  waiting: _Waiting = collections.deque()
  max_ahead = min(_MAX_AHEAD, settings.max_pending)
  try:
    for file in files:
      file = load_file(file, problems)
      waiting.append((file, _submit(pool, file, confirm=confirm)))
      _show_finished(waiting, view, max_ahead)
      interruption.check()
    _show_finished(waiting, view, 0)
  except interruption.Interrupted as reason:
    _drain(pool, waiting, view, settings.exec_timeout_s)
    for file in files:
      view.skip(file)
    return str(reason)
  return ""


def _submit(
  pool: VerificationPool, file: LeanFile, *, confirm: bool
) -> VerdictFuture | None:
  if file.problem is None:
    return None
  extraction = Extraction(final=file.final)
  return pool.submit(file.problem, extraction, confirm=confirm)


def _show_finished(
  waiting: _Waiting, view: CheckView, max_unfinished: int
) -> None:
  """Shows the first files that have a verdict; waits if too many have none."""
  while waiting:
    file, future = waiting[0]
    if future is None:
      view.refuse(file)
    elif future.done() or len(waiting) > max_unfinished:
      view.show(file, wait_for_verdict(future, interruption.check))
    else:
      return
    waiting.popleft()


def _drain(
  pool: VerificationPool, waiting: _Waiting, view: CheckView, grace_s: float
) -> None:
  """Lets the proofs that are being checked end, and shows their verdicts."""
  was_done = [future is None or future.done() for _, future in waiting]
  pool.drain(grace_s)
  for (file, future), done in zip(waiting, was_done, strict=True):
    if future is None:
      view.refuse(file)
    elif done or future.result().status is not Status.INFRA_ERROR:
      view.show(file, future.result())
    else:
      view.skip(file)


def _load_problems(path: str) -> Mapping[str, Problem] | None:
  if not path:
    return None
  return {problem.name: problem for problem in dataset.load_statements(path)}


def _interruption_notice(
  signal_name: str, settings: CheckerSettings, view: CheckView
) -> str:
  """What an interrupted run keeps, and how to continue it."""
  known = (
    "; verdicts kept in checker.verdict_cache are not computed again"
    if settings.verdict_cache
    else ""
  )
  return (
    f"stopped: {signal_name}; {view.num_skipped} files were not checked. The"
    " verdicts shown are final; the same command checks all files again, or"
    f" name those that are left{known}"
  )
