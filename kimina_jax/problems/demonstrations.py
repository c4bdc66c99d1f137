"""Responses to imitate, from JSONL files.

In: a file of one JSON object per line, of one of three kinds:
  {"header", "statement", "informal", "response"}  a proof in the pattern
  {"prompt", "response"}                           a question and its answer
  rows of a run's rollouts.jsonl                   what the policy proved
Out: demonstrations. Never a rollout that was not proved, or that broke the
pattern, or of a held-out statement.
"""

import json
import pathlib

from kimina_jax.types import Demonstration, Problem, UsageError


def load_demonstrations(
  path: str | pathlib.Path, *, confirmed_only: bool = False
) -> list[Demonstration]:
  """Reads the demonstrations of a JSONL file, in its order.

  Args:
    path: of the file.
    confirmed_only: of a run's rollouts, take those alone that a second verifier
      has accepted too.

  Raises:
    UsageError: names the file, the line and what is wrong; or nothing in the
      file is worth imitating.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(
      f"no demonstrations at {str(path)!r}; name a JSONL file or a source of "
      "generated problems, such as arithmetic"
    )
  found = []
  with path.open(encoding="utf-8") as file:
    for number, line in enumerate(file, start=1):
      if line.strip():
        where = f"{path}:{number}"
        found += _demonstrations(line, where, confirmed_only=confirmed_only)
  if not found:
    kind = "confirmed" if confirmed_only else "proved"
    raise UsageError(f"{path} holds no demonstration and no {kind} rollout")
  return found


def _demonstrations(
  line: str, where: str, *, confirmed_only: bool
) -> list[Demonstration]:
  """One, or none for a rollout that taught nothing."""
  try:
    record = json.loads(line)
  except json.JSONDecodeError as error:
    raise UsageError(f"{where}: not JSON: {error}") from error
  if not isinstance(record, dict):
    raise UsageError(f"{where}: a JSON object is needed, got {line[:40]!r}")
  if record.get("split", "train") != "train":
    raise UsageError(
      f"{where}: a statement of split {record['split']!r} is held out, not to "
      "be trained on"
    )
  if "verdict" in record:
    if record["verdict"] != "proved" or record["format_error"]:
      return []
    if confirmed_only and not record["confirmed"]:
      return []
    return [Demonstration(_problem(record, where), record["text"])]
  if not isinstance(record.get("response"), str):
    raise UsageError(f'{where}: missing field "response"')
  return [Demonstration(_problem(record, where), record["response"])]


def _problem(record: dict, where: str) -> Problem:
  """A statement; or a plain question, which has no statement."""
  if "prompt" in record and "statement" not in record:
    return Problem(where, "", "", informal=record["prompt"])
  missing = [key for key in ("header", "statement") if key not in record]
  if missing:
    raise UsageError(f"{where}: missing field {' and '.join(missing)}")
  return Problem(
    name=record.get("name", where),
    header=record["header"],
    statement=record["statement"],
    informal=record.get("informal", ""),
    source=record.get("source", ""),
  )
