r"""Demonstrations for supervised training, from JSONL files.

In: a file with one JSON object per line. Out: problems with a response to
imitate. A rollout that was not proved or that broke the pattern is skipped; a
statement of another split than `train` is an error. There are three kinds of
records:

A proof: a statement with the fields of a statement file (see dataset.py; the
name may be missing), and the whole response in the formal reasoning pattern,
whose `lean4` block repeats header and statement:
  {"header": "import Mathlib\n\n",
   "statement": "theorem one_lt_two' : 1 < 2 := by",
   "informal": "Show that one is less than two.",
   "response": "<think>\nCompute.\n```tactics\nnorm_num\n```\n</think>\n
                ```lean4\nimport Mathlib\n\ntheorem one_lt_two' : 1 < 2 := by\n
                  norm_num\n```"}
A field `statement` beside a field `header` is taken as it is; under all other
names header and statement are separated as in a statement file.

A question without a statement, which becomes the whole user turn:
  {"prompt": "What is 1 + 1?", "response": "2"}

A row of a run's rollouts.jsonl, whose `text` is imitated if its verdict is
`proved` (distillation).
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from kimina_jax.problems.dataset import (
  has_statement,
  parse_problem,
  read_records,
)
from kimina_jax.types import Demonstration, Problem, UsageError


def load_demonstrations(
  path: str | pathlib.Path, *, confirmed_only: bool = False
) -> list[Demonstration]:
  """Reads the demonstrations of a JSONL file, in its order.

  Args:
    path: of the file.
    confirmed_only: of a run's rollouts, takes only those that a second
      verifier has accepted too.

  Raises:
    UsageError: names the file, the line and what is wrong; or the file holds
      nothing to imitate.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(
      f"no demonstrations at {str(path)!r}; name a JSONL file or a source of "
      "generated problems, such as arithmetic"
    )
  loaded: list[Demonstration] = []
  for where, record in read_records(path):
    if record.get("split", "train") != "train":
      raise UsageError(
        f"{where}: a statement of split {record['split']!r} is held out, not "
        "to be trained on"
      )
    if "verdict" not in record or _is_worth_imitating(record, confirmed_only):
      loaded.append(_demonstration(record, where))
  if not loaded:
    kind = "confirmed" if confirmed_only else "proved"
    raise UsageError(f"{path} holds no demonstration and no {kind} rollout")
  return loaded


def _is_worth_imitating(
  record: Mapping[str, Any], confirmed_only: bool
) -> bool:
  """Whether a rollout is a proof in the pattern, and confirmed if need be."""
  if record["verdict"] != "proved" or record["format_error"]:
    return False
  return record["confirmed"] or not confirmed_only


def _demonstration(record: Mapping[str, Any], where: str) -> Demonstration:
  key = "text" if "verdict" in record else "response"
  if not isinstance(record.get(key), str):
    raise UsageError(f'{where}: missing field "{key}"')
  return Demonstration(_problem(record, where), record[key])


def _problem(record: Mapping[str, Any], where: str) -> Problem:
  """The statement to prove; or a plain question, which has no statement."""
  if isinstance(record.get("prompt"), str) and not has_statement(record):
    return Problem(where, "", "", informal=record["prompt"])
  header, statement = record.get("header"), record.get("statement")
  if not isinstance(header, str) or not isinstance(statement, str):
    return parse_problem(record, where=where, split="train", name=where)
  return Problem(
    name=str(record.get("name", where)),
    header=header,
    statement=statement,
    informal=record.get("informal", ""),
    source=record.get("source", ""),
  )
