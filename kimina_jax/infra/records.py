"""Rollouts and verdicts as JSON lines, for inspection and SFT.

In: judged samples of one iteration after another. Out: `rollouts.jsonl`, a row
per rollout, to which rows are only appended. On resume the rows of iterations
that the run repeats are removed, so that the file of a resumed run differs from
that of an uninterrupted one only in the measured seconds.
Never keeps rows in memory. In a job of several processes, process 0 writes.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from kimina_jax.infra import distributed
from kimina_jax.types import Sample, UsageError

_STEP = re.compile(rb'\{"(?:iteration|step)": (\d+)[,}]')
# Keys of rollouts.jsonl as earlier versions wrote them.
_OLD_NAMES = {"step": "iteration", "row": "index"}


class NullWriter:
  """No-op writer of metrics or rollouts, on processes other than 0."""

  def write(self, step: int, rows: object) -> None: ...

  def phase(self, name: str, *, done: int = 0, total: int = 0) -> None: ...

  def close(self) -> None: ...


def open_rollouts(
  path: str | pathlib.Path, start_step: int
) -> "RolloutWriter | NullWriter":
  """The writer of this process: none but process 0 writes."""
  if not distributed.is_first():
    return NullWriter()
  return RolloutWriter(path, start_step)


class RolloutWriter:
  """Owns a run's `rollouts.jsonl`."""

  def __init__(self, path: str | pathlib.Path, start_step: int):
    """Opens the file and cuts away rows from `start_step` on."""
    self._file = open_jsonl(path, start_step)

  def write(self, step: int, samples: Sequence[Sample]) -> None:
    """Appends a row per sample; they are in the file when this returns."""
    append(self._file, [to_row(step, sample) for sample in samples])

  def close(self) -> None:
    self._file.close()


def to_row(step: int, sample: Sample) -> dict[str, Any]:
  """A sample as JSON; `iteration` comes first. Lengths are in tokens.

  `iteration` is the one that learned from it; `began` (the iteration in which
  it began) and `index` identify the rollout: with partial rollouts it may have
  begun earlier, and its first `num_carried` tokens were drawn before.
  """
  rollout, verdict = sample.rollout, sample.verdict
  problem = rollout.prompt.problem
  return {
    "iteration": step,
    "index": rollout.index,
    "began": rollout.iteration,
    **dataclasses.asdict(problem),
    "prompt": rollout.prompt.text,
    "text": rollout.text,
    "verdict": str(verdict.status),
    "messages": [dataclasses.asdict(message) for message in verdict.messages],
    "axioms": list(verdict.axioms),
    "detail": verdict.detail,
    "notes": list(verdict.notes),
    "confirmed": verdict.confirmed,
    "format_error": sample.format_error,
    "reward": None if sample.reward is None else float(sample.reward),
    "advantage": float(sample.advantage),
    "dropped": sample.dropped,
    "prompt_len": len(rollout.prompt.tokens),
    "response_len": len(rollout.tokens),
    "num_carried": rollout.num_carried,
    "stop": rollout.stop_reason,
    "queue_s": verdict.queue_s,
    "load_s": verdict.load_s,
    "exec_s": verdict.exec_s,
  }


def read(path: str | pathlib.Path) -> Iterator[dict[str, Any]]:
  """Rows of a JSON-lines file; a last line still being written is left out.

  Raises:
    UsageError: there is no such file, or a line is not JSON.
  """
  try:
    file = open(path, "rb")
  except FileNotFoundError as error:
    raise UsageError(f"no such file: {path}") from error
  with file:
    for number, line in enumerate(file, start=1):
      if not line.endswith(b"\n"):
        return
      try:
        yield json.loads(line)
      except ValueError as error:
        raise UsageError(f"{path}:{number} is not JSON: {error}") from error


def read_rollouts(path: str | pathlib.Path) -> Iterator[dict[str, Any]]:
  """Rows of a `rollouts.jsonl`, those of older files under today's keys.

  Raises:
    UsageError: as `read`.
  """
  return map(current_names, read(path))


def current_names(row: dict[str, Any]) -> dict[str, Any]:
  """A row of a `rollouts.jsonl` of any version under today's keys."""
  return {_OLD_NAMES.get(name, name): value for name, value in row.items()}


def append(file: BinaryIO, rows: Sequence[dict[str, Any]]) -> None:
  """Writes rows at once, so that a kill tears the last line at most.

  Raises:
    ValueError: a row holds a float that JSON cannot express.
    UsageError: the system cannot write, for example because the disk is full.
  """
  lines = [
    json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows
  ]
  try:
    # A response may have half a surrogate pair, which UTF-8 cannot express.
    # Not through Python's buffer, which closing the file would write again.
    data = memoryview("".join(lines).encode(errors="backslashreplace"))
    while data:
      data = data[os.write(file.fileno(), data) :]
  except OSError as error:
    raise UsageError(f"cannot write {file.name}: {error.strerror}") from error


def open_jsonl(path: str | pathlib.Path, start_step: int) -> BinaryIO:
  """Opens for appending, without rows from `start_step` on or a torn one.

  Rows start with `"step"` or `"iteration"` and are in its order, as the
  writers of this package make them.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.exists():
    os.truncate(path, _num_bytes_before(path, start_step))
  return open(path, "ab")


def _num_bytes_before(path: pathlib.Path, start_step: int) -> int:
  """Offset of the first row from `start_step` on, or of a torn one."""
  end = 0
  with open(path, "rb") as file:
    for line in file:
      step = _STEP.match(line)
      if not line.endswith(b"\n"):
        break
      if not step:
        raise UsageError(
          f"{path} holds a row without a step at byte {end}; move it away"
        )
      if int(step.group(1)) >= start_step:
        break
      end += len(line)
  return end
