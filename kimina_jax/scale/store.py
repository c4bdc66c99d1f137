"""Rows as JSON lines that accumulate.

In: a file and rows. Out: the rows by key and kind ("predicted", "measured"),
of each the last. A row is in the file as soon as it is known. Never rewrites
what is there.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from kimina_jax.types import UsageError

Row = Mapping[str, Any]
Index = dict[tuple[str, str], Row]


def read(path: str | pathlib.Path) -> Index:
  """The rows of a file; none if there is no file yet.

  A last line that a kill has torn is left out.

  Raises:
    UsageError: another line is not a row.
  """
  path = pathlib.Path(path)
  rows: Index = {}
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


def append(path: str | pathlib.Path, row: Row) -> None:
  """Adds a row; ends a line that was torn, so that only it is lost.

  Raises:
    UsageError: the system refuses.
  """
  path = pathlib.Path(path)
  line = (json.dumps(row, allow_nan=False) + "\n").encode()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
      if file.seek(0, os.SEEK_END):
        _drop_torn(file)
      file.write(line)
  except OSError as error:
    raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _drop_torn(file: Any) -> None:
  file.seek(0)
  file.truncate(file.read().rfind(b"\n") + 1)
