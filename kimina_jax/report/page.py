"""A run as one web page: python -m kimina_jax.report RUN_DIR

In: `config.json`, `metrics.jsonl` and `rollouts.jsonl` of a run, finished or
not. Out: `report.html` beside them, one file without links: curves, the solve
rate per source, and a browser of rollouts with the checker's messages. Nothing
else is written, and not all rollouts are in memory at once.
"""

import html
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from kimina_jax.infra import records
from kimina_jax.types import Status, UsageError
from kimina_jax.verification import stats

_MAX_ROLLOUTS = 2000  # embedded in the page
_MAX_ROLLOUT_BYTES = 8 << 20
_ROLLOUT_FIELDS = (
  "iteration", "index", "name", "source", "prompt", "text", "verdict",
  "messages", "detail", "notes", "confirmed", "format_error", "reward",
  "advantage", "dropped", "response_len", "began", "num_carried", "stop",
  "exec_s",
)  # fmt: skip
# The head of the page: label and keys of config.json.
_FACTS = (
  ("Model", "model.name"),
  ("Started from", "init_from"),
  ("Tokenizer", "tokenizer"),
  ("Problems", "problems.train"),
  ("Held out", "problems.eval"),
  ("Checker", "checker.backend"),
  ("Isolation configured", "checker.isolation"),
  ("Loss", "loss.name"),
  ("Baseline", "advantage.baseline"),
  ("Learning rate", "optimizer.learning_rate"),
  ("Problems × rollouts", "train.num_problems × train.num_per_problem"),
  ("Iterations", "train.num_iterations"),
  ("Seed", "seed"),
)
# Title, and the meaning of `step` in metrics.jsonl, by program.
_PROGRAMS = {
  "train": ("Reinforcement learning", "iteration"),
  "sft": ("Supervised training", "step"),
  "evaluate": ("Evaluation", "part"),
}


def write_report(run_dir: str | pathlib.Path) -> pathlib.Path:
  """Writes `report.html` into the run's directory and returns its path.

  Raises:
    UsageError: the directory holds neither metrics nor rollouts.
  """
  root = pathlib.Path(run_dir)
  metrics_path = root / "metrics.jsonl"
  rollouts_path = root / "rollouts.jsonl"
  if not metrics_path.exists() and not rollouts_path.exists():
    raise UsageError(
      f"no run in {root}: neither metrics.jsonl nor rollouts.jsonl is there"
    )
  config = _read_json(root / "config.json")
  rollouts, num_rollouts = sample_rollouts(
    rollouts_path, limit=_MAX_ROLLOUTS, limit_bytes=_MAX_ROLLOUT_BYTES
  )
  program, step_name = _PROGRAMS.get(config.get("program", ""), ("Run", "step"))
  metrics = _evaluation_scores(root / "result.json") or columns(metrics_path)
  data = {
    "title": root.absolute().name,
    "program": program,
    "stepName": step_name,
    "facts": [*facts(config), *_isolation(metrics)],
    "config": config,
    "metrics": metrics,
    "alarms": alarms(metrics),
    "statuses": [str(status) for status in Status],
    "rollouts": rollouts,
    "numRollouts": num_rollouts,
  }
  path = root / "report.html"
  partial = path.with_suffix(".tmp")
  try:
    partial.write_text(to_html(data), encoding="utf-8")
    return partial.rename(path)
  except OSError as error:
    raise UsageError(f"cannot write {path}: {error.strerror}") from error


def to_html(data: Mapping[str, Any]) -> str:
  """The page with its data embedded; text of rollouts cannot become HTML."""
  template = pathlib.Path(__file__).with_suffix(".html").read_text("utf-8")
  # Inside <script>, `<` alone could end the element or open a comment. The
  # rest is ASCII: any text survives any encoding.
  embedded = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
  title = html.escape(f"{data['title']} · {data['program']}")
  before, after = template.split("{{data}}")
  return before.replace("{{title}}", title) + embedded + after


def columns(path: pathlib.Path) -> dict[str, list[float | None]]:
  """The columns of `metrics.jsonl` by name; None where a row lacks a metric.

  Rows with the same `step` are merged; columns are in the order of the steps.
  """
  rows: dict[int, dict[str, float | None]] = {}
  for row in records.read(path) if path.exists() else ():
    rows.setdefault(row["step"], {}).update(row)
  names = dict.fromkeys(name for row in rows.values() for name in row)
  return {
    name: [rows[step].get(name) for step in sorted(rows)] for name in names
  }


def sample_rollouts(
  path: pathlib.Path, *, limit: int, limit_bytes: int
) -> tuple[list[dict[str, Any]], int]:
  """Rollouts for the page, oldest first, and the number that the run has.

  All of them if they fit; else the newest, a quarter of the limit, and an even
  spread over the rest. A line that is not a row is left out with a warning.

  Args:
    path: `rollouts.jsonl`; may be absent.
    limit: number of rollouts.
    limit_bytes: of their lines.
  """
  if not path.exists():
    return [], 0
  with open(path, "rb") as file:
    ends = [0]
    for line in file:
      if line.endswith(b"\n"):
        ends.append(ends[-1] + len(line))
    num_rollouts = len(ends) - 1
    chosen = _spread(num_rollouts, limit)
    while sum(ends[i + 1] - ends[i] for i in chosen) > limit_bytes:
      limit = min(limit, len(chosen)) // 2
      chosen = _spread(num_rollouts, limit)
    rollouts = []
    for index in chosen:
      file.seek(ends[index])
      try:
        row = records.current_names(json.loads(file.readline()))
      except (ValueError, AttributeError) as error:
        logging.warning(
          "%s:%d is not a rollout and is left out: %s", path, index + 1, error
        )
        continue
      rollouts.append({name: row.get(name) for name in _ROLLOUT_FIELDS})
  return rollouts, num_rollouts


def facts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Label and value of the settings that distinguish runs."""
  found = []
  for label, keys in _FACTS:
    values = [_look_up(config, key) for key in keys.split(" × ")]
    if all(value not in (None, "") for value in values):
      found.append((label, " × ".join(f"{value}" for value in values)))
  return found


def alarms(
  metrics: Mapping[str, Sequence[float | None]],
) -> list[tuple[int, str]]:
  """Steps with too many failures of the checker, each with a message.

  Args:
    metrics: as of `columns`.
  """
  found = []
  for index, step in enumerate(metrics.get("step", ())):
    row: dict[str, float] = {}
    for name, values in metrics.items():
      value = values[index]
      if name.startswith("checker/") and value is not None:
        row[name.removeprefix("checker/")] = value
    if message := stats.failure_alarm(row):
      found.append((int(step or 0), message))
  return found


def _isolation(
  metrics: Mapping[str, Sequence[float | None]],
) -> list[tuple[str, str]]:
  """The isolation of the workers in the last row, by number of processes."""
  counts = [
    metrics.get(f"checker/isolation/{mode}", ())
    for mode in stats.ISOLATION_MODES
  ]
  last = next(filter(any, reversed(list(zip(*counts, strict=True)))), ())
  modes = {m: n for m, n in zip(stats.ISOLATION_MODES, last, strict=False) if n}
  if not modes:
    return []
  if len(modes) == 1:
    return [("Isolation in force", next(iter(modes)))]
  parts = [f"{mode} × {count:.0f}" for mode, count in modes.items()]
  return [("Isolation in force", ", ".join(parts))]


def _evaluation_scores(path: pathlib.Path) -> dict[str, list[float | None]]:
  """Scores of a whole evaluation; its metrics are of parts of the problems."""
  scores = {
    name: [value]
    for name, value in _read_json(path).items()
    if name.startswith("eval/")
  }
  return {"step": [0], **scores} if scores else {}


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  if not path.exists():
    return {}
  try:
    value = json.loads(path.read_text("utf-8"))
    if not isinstance(value, dict):
      raise ValueError("it holds no object")
    return value
  except ValueError as error:
    raise UsageError(
      f"{path} is not JSON ({error}): move it away to leave it out"
    ) from error


def _spread(count: int, limit: int) -> list[int]:
  """At most `limit` of 0 … count − 1; the last quarter of them are adjacent."""
  if count <= limit:
    return list(range(count))
  num_newest = math.ceil(limit / 4)
  num_old, num_even = count - num_newest, limit - num_newest
  even = [index * num_old // num_even for index in range(num_even)]
  return even + list(range(num_old, count))


def _look_up(config: Mapping[str, Any], key: str) -> Any:
  value: Any = config
  for part in key.split("."):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value
