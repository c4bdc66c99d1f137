"""Lean files from the command line: which of them are proofs.

  python -m kimina_jax.check proofs/ more.lean
  python -m kimina_jax.check --problems=minif2f.jsonl --jobs=16 proofs/
  python -m kimina_jax.check --doctor

Comes in: Lean files (header, statement, proof), directories of them, or stdin
(`-`), and perhaps the problems that they were to prove. Goes out: a verdict on
each, with Lean's messages at their places in the file, as text or as JSON
lines; and exit code 0 if all are proved, 2 if not, 1 if nothing could be
checked. Ctrl-C and SIGTERM let the proofs that are being checked end, with exit
code 130 or 143. It writes no file and holds few of them at a time.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "check",
      main="kimina_jax.check.__main__:main",
      summary="Checks which Lean files are proofs, and shows Lean's messages.",
      example=(
        "kimina check proofs/ more.lean\n"
        "kimina check --problems=minif2f.jsonl --jobs=16 proofs/\n"
        "kimina check --doctor"
      ),
      arguments="FILES, DIRECTORIES or -",
      flags=(
        cli.Flag(
          "problems", "", "JSONL file of the statements that were to be proved."
        ),
        cli.Flag(
          "jobs", None, "As --config.checker.num_workers.", kind=int, minimum=1
        ),
        cli.Flag("json", False, "Print one JSON object for each file."),
        cli.Flag("quiet", False, "Show no file that is proved."),
        cli.Flag(
          "confirm", False, "Have the second verifier confirm every proof."
        ),
        cli.Flag(
          "doctor",
          False,
          "Examine the checker itself: what is installed, which attacks fail.",
        ),
      ),
      config="common",
      needs_jax=False,
    )
  )

import argparse
import collections
import concurrent.futures
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from absl import logging
from rich.console import Console

from kimina_jax.check import doctor
from kimina_jax.check.files import Entry, find, load
from kimina_jax.check.view import View
from kimina_jax.infra import interruption
from kimina_jax.problems import dataset
from kimina_jax.types import Extraction, Problem, Status, UsageError
from kimina_jax.verification.pool import VerdictFuture, VerificationPool
from kimina_jax.verification.settings import CheckerSettings

_POLL_S = 0.1  # between two looks for Ctrl-C
# Files that are read before the verdict on the first of them is shown.
_MAX_AHEAD = 1024

_Waiting = collections.deque[tuple[Entry, VerdictFuture | None]]


def main(options: argparse.Namespace) -> int:
  """Checks what the command line names; 0 if all of it is proved."""
  config, places = options.config, options.arguments
  logging.set_verbosity(logging.WARNING)  # The verdicts say it all.
  if options.jobs is not None:
    config.checker.num_workers = options.jobs
  settings = CheckerSettings(**config.checker)
  if options.doctor:
    return _doctor(settings, places, as_json=options.json)
  if not places:
    raise UsageError("no file given: name Lean files, directories or -")
  if options.confirm and not settings.second_command:
    raise UsageError(
      "--confirm asks a second verifier, and there is none: set"
      " --config.checker.second_command"
    )
  view = View(
    Console(highlight=False),
    checker=settings.backend,
    as_json=options.json,
    quiet=options.quiet,
  )
  problems = _problems(options.problems)
  with VerificationPool(settings) as pool:
    interruption.defer()
    if view.counts_files:
      view.expect(sum(1 for _ in find(places)))
    started_s = time.monotonic()
    with view:
      stopped = check(
        pool,
        find(places),
        problems,
        settings=settings,
        confirm=options.confirm,
        view=view,
      )
    view.sum_up(pool, seconds=time.monotonic() - started_s)
  return _exit_code(view, stopped)


def check(
  pool: VerificationPool,
  found: Iterator[Entry],
  problems: Mapping[str, Problem] | None,
  *,
  settings: CheckerSettings,
  confirm: bool,
  view: View,
) -> str:
  """Checks files, and shows the verdicts in the order of the files.

  Args:
    pool: checks; it takes nothing more in after a signal.
    found: the files, unread.
    problems: by name; None if the files say themselves what they prove.
    settings: of the pool.
    confirm: whether a second verifier must agree.
    view: shows what becomes of each file.

  Returns:
    The signal that ended it, by name; "" if all files have been checked.
  """
  waiting: _Waiting = collections.deque()
  max_ahead = min(_MAX_AHEAD, settings.max_pending)
  try:
    for entry in found:
      entry = load(entry, problems)
      waiting.append((entry, _submit(pool, entry, confirm=confirm)))
      _show_done(waiting, view, max_ahead)
      interruption.check()
    _show_done(waiting, view, 0)
  except interruption.Interrupted as reason:
    _drain(pool, waiting, view, settings.exec_timeout_s)
    for entry in found:
      view.skip(entry)
    return str(reason)
  return ""


def _submit(
  pool: VerificationPool, entry: Entry, *, confirm: bool
) -> VerdictFuture | None:
  if entry.error:
    return None
  extraction = Extraction(final=entry.final)
  return pool.submit(entry.problem, extraction, confirm=confirm)


def _show_done(waiting: _Waiting, view: View, max_left: int) -> None:
  """Shows the first verdicts that are there, and waits if too many are not."""
  while waiting:
    entry, future = waiting[0]
    while future is not None and not future.done():
      if len(waiting) <= max_left:
        return
      interruption.check()
      concurrent.futures.wait([future], timeout=_POLL_S)
    waiting.popleft()
    if future is None:
      view.refuse(entry)
    else:
      view.show(entry, future.result())


def _drain(
  pool: VerificationPool, waiting: _Waiting, view: View, grace_s: float
) -> None:
  """Ends what has begun, and shows what became of it."""
  was_done = [future is None or future.done() for _, future in waiting]
  pool.drain(grace_s)
  for (entry, future), done in zip(waiting, was_done, strict=True):
    if future is None:
      view.refuse(entry)
    elif done or future.result().status is not Status.INFRA_ERROR:
      view.show(entry, future.result())
    else:
      view.skip(entry)


def _problems(path: str) -> Mapping[str, Problem] | None:
  if not path:
    return None
  return {problem.name: problem for problem in dataset.load(path)}


def _exit_code(view: View, stopped: str) -> int:
  if stopped:
    print(
      f"stopped: {stopped}; {view.num_skipped} files were not checked",
      file=sys.stderr,
    )
    return 130 if stopped == "SIGINT" else 143
  if not view.num_checked:
    return 1
  return 0 if view.num_proved == view.num_files else 2


def _doctor(
  settings: CheckerSettings, arguments: Sequence[str], *, as_json: bool
) -> int:
  if arguments:
    raise UsageError(f"--doctor takes no file, got {arguments[0]!r}")
  console = Console(highlight=False)
  is_well = True
  for finding in doctor.examine(settings):
    is_well &= finding.state != "wrong"
    if as_json:
      print(json.dumps(finding._asdict()), flush=True)
    else:
      doctor.show(console, finding)
  if not as_json:
    doctor.conclude(console, is_well=is_well)
  return 0 if is_well else 2
