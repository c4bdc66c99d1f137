"""A scaling study: rows as JSON lines, made in subprocesses where missing.

In: StudyCases and a JSON-lines file. Out: one row per case and kind
("predicted" by compilation, "measured" by running), appended to the file as
soon as it is known and shown as a table. Each row is made by a subprocess of
its own (worker.py), a few at a time; one that crashes or times out becomes a
row with status "failed". No subprocess is left behind, and existing lines are
never rewritten.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import rich.console
import rich.status

from kimina_jax.scale import report
from kimina_jax.scale.cases import StudyCase, StudyRow
from kimina_jax.scale.topologies import parse_topology, process_environment
from kimina_jax.types import UsageError

# The newest row by key of its case and kind.
RowIndex = dict[tuple[str, str], StudyRow]

_WORKER = "kimina_jax.scale.worker"
# Characters; wide enough for the table where output is no terminal.
_TABLE_WIDTH = 220


@dataclasses.dataclass(frozen=True)
class StudyOptions:
  """Options of a study.

  Attributes:
    out: JSON-lines file in which rows accumulate.
    jobs: subprocesses at a time.
    timeout_s: limit for one row.
    force: make rows again that the file already has.
    measure: run the programs instead of predicting them.
  """

  out: str
  jobs: int
  timeout_s: float
  force: bool
  measure: bool

  @property
  def kind(self) -> str:
    """The kind of the rows: "predicted" or "measured"."""
    return "measured" if self.measure else "predicted"


def run_study(
  cases: Sequence[StudyCase],
  options: StudyOptions,
  console: rich.console.Console,
) -> list[StudyRow]:
  """Makes the missing rows of the cases and prints all of them as a table.

  Raises:
    UsageError: rows are to be measured on a machine that is not this one, or
      the file of rows cannot be read or written.
  """
  if options.measure:
    _check_measurable(cases)
  known = read_rows(options.out)
  missing = [
    case
    for case in cases
    if options.force or (case.key, options.kind) not in known
  ]
  console.print(
    f"{len(cases)} rows, {len(cases) - len(missing)} of them in {options.out}"
  )
  with console.status("") as status:
    _show_remaining(status, len(missing), 0)
    for number, (case, row) in enumerate(make_rows(missing, options), start=1):
      append_row(options.out, row)
      known[row["key"], row["kind"]] = row
      console.print(
        f"[{number}/{len(missing)}] {case.title}: {report.summary_line(row)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
      )
      _show_remaining(status, len(missing), number)
  order = {case.key: number for number, case in enumerate(cases)}
  # Predicted and measured rows of a case stand beside each other.
  rows = [row for (key, _), row in known.items() if key in order]
  rows.sort(key=lambda row: order[row["key"]])
  if not console.is_terminal:
    console = rich.console.Console(file=console.file, width=_TABLE_WIDTH)
  console.print(report.terminal_table(rows))
  return rows


def read_rows(path: str | pathlib.Path) -> RowIndex:
  """The rows of a file by key and kind; no rows if there is no file.

  A last line without a line break (the writer was killed) is left out.

  Raises:
    UsageError: another line is not a row.
  """
  path = pathlib.Path(path)
  rows: RowIndex = {}
  if not path.exists():
    return rows
  lines = path.read_text().split("\n")
  for number, line in enumerate(lines[:-1], start=1):
    try:
      row = json.loads(line)
      rows[row["key"], row["kind"]] = row
    except (ValueError, TypeError, KeyError) as error:
      raise UsageError(
        f"{path}:{number} is not a row of a scaling study: {error}"
      ) from error
  return rows


def append_row(path: str | pathlib.Path, row: StudyRow) -> None:
  """Appends a row; removes an incomplete last line first.

  Raises:
    UsageError: the file cannot be written.
  """
  path = pathlib.Path(path)
  line = (json.dumps(row, allow_nan=False) + "\n").encode()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
      if file.seek(0, os.SEEK_END):
        _drop_incomplete_line(file)
      file.write(line)
  except OSError as error:
    raise UsageError(f"cannot write {path}: {error.strerror}") from error


def make_rows(
  cases: Sequence[StudyCase], options: StudyOptions
) -> Iterator[tuple[StudyCase, StudyRow]]:
  """Yields each case with its row, in the order in which they are done."""
  workers = _Workers()
  pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
  futures = {
    pool.submit(_make_row, case, options, workers): case for case in cases
  }
  try:
    for future in concurrent.futures.as_completed(futures):
      yield futures[future], future.result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
    workers.kill_all()
    pool.shutdown()


class _Workers:
  """Owns the worker processes; starts none after `kill_all`."""

  def __init__(self) -> None:
    self._processes: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._ended = False

  def start(self, environment: dict[str, str]) -> subprocess.Popen | None:
    """Starts a worker; None after `kill_all`."""
    with self._lock:
      if self._ended:
        return None
      process = subprocess.Popen(
        [sys.executable, "-m", _WORKER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
      )
      self._processes.add(process)
      return process

  def kill_all(self) -> None:
    with self._lock:
      self._ended = True
      for process in self._processes:
        process.kill()


def _make_row(
  case: StudyCase, options: StudyOptions, workers: _Workers
) -> StudyRow:
  """The row of a case, from a worker process of its own."""
  request = {"case": dataclasses.asdict(case), "measure": options.measure}
  topology = parse_topology(case.topology)
  process = workers.start({**os.environ, **process_environment(topology)})
  if process is None:
    return {}
  try:
    out, log = process.communicate(
      json.dumps(request), timeout=options.timeout_s
    )
  except subprocess.TimeoutExpired:
    process.kill()
    process.communicate()
    return _failed_row(
      case, options.kind, f"no row after {options.timeout_s:.0f} s"
    )
  if process.returncode == 0 and out.strip():
    return json.loads(out.splitlines()[-1])
  return _failed_row(case, options.kind, _crash_reason(process.returncode, log))


def _crash_reason(code: int, log: str) -> str:
  """Signal or exit code of a worker, and the last lines of its log."""
  name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
  lines = [line for line in log.splitlines() if line.strip()]
  checks = [line for line in lines if "Check failed" in line]
  return f"{name}: " + " | ".join((checks or lines)[-3:])[-1000:]


def _failed_row(case: StudyCase, kind: str, error: str) -> StudyRow:
  return {
    "key": case.key,
    "kind": kind,
    "case": dataclasses.asdict(case),
    "status": "failed",
    "error": error,
  }


def _show_remaining(status: rich.status.Status, total: int, done: int) -> None:
  left = total - done
  status.update(f"{left} of {total} rows to go" if left else "")


def _check_measurable(cases: Sequence[StudyCase]) -> None:
  for case in cases:
    if parse_topology(case.topology).is_abstract:
      raise UsageError(
        f"--measure runs programs, and there is no {case.topology} here; use"
        " --topology=here or cpu:8"
      )


def _drop_incomplete_line(file: BinaryIO) -> None:
  file.seek(0)
  file.truncate(file.read().rfind(b"\n") + 1)
