"""The directory of a run: what it is, and that it stays the same run.

RUN/config.json      the experiment, as it was started
RUN/model/           config.json (Hugging Face) and tokenizer files
RUN/checkpoints/     STEP/params, STEP/opt_state, STEP/host
RUN/metrics.jsonl    a row per step
RUN/rollouts.jsonl   what the policy wrote, and the verdicts
RUN/tensorboard/     the same numbers for TensorBoard
RUN/report.html      a page to read

In a job of several processes it lies on a file system that all of them share;
process 0 opens it for all.
"""

import fcntl
import json
import pathlib
from collections.abc import Callable, Mapping

from kimina_jax.infra import distributed
from kimina_jax.types import UsageError

_locks = []  # held until the process ends


def open_run_dir(
  run_dir: str | pathlib.Path,
  config: Mapping,
  *,
  write_model: Callable[[pathlib.Path], None],
) -> pathlib.Path:
  """Makes the directory of a run, or reopens that of an earlier start.

  Args:
    run_dir: made if missing.
    config: program and experiment as a nested dict of JSON values; see
      pipeline/resume_policy.py for what may differ from an earlier start.
    write_model: writes `model/` (configuration and tokenizer).

  Returns:
    The directory.

  Raises:
    UsageError: it cannot be written, or another process works in it.
  """
  root = pathlib.Path(run_dir)
  if distributed.is_first():
    _open(root, config, write_model)
  distributed.gather(None)  # The others go on when it is complete.
  if not (root / "config.json").exists():
    raise UsageError(
      f"the run directory {root.absolute()} of process 0 is not here; choose "
      "one on a file system that all processes share"
    )
  return root


def _open(
  root: pathlib.Path,
  config: Mapping,
  write_model: Callable[[pathlib.Path], None],
) -> None:
  path = root / "config.json"
  try:
    root.mkdir(parents=True, exist_ok=True)
    _lock(root)
    write_model(root / "model")
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(config, indent=2, ensure_ascii=False))
    partial.rename(path)
  except OSError as error:
    raise UsageError(f"cannot write the run directory {root}: {error}") from (
      error
    )


def has_begun(root: pathlib.Path) -> bool:
  """Whether a run has written rows or a checkpoint to the directory."""
  files = (root / name for name in ("metrics.jsonl", "rollouts.jsonl"))
  return any(root.glob("checkpoints/[0-9]*")) or any(
    file.exists() and file.stat().st_size for file in files
  )


def _lock(root: pathlib.Path) -> None:
  """Two processes in one directory would mix their rows."""
  file = open(root / ".lock", "w")
  try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise UsageError(
      f"another process is at work in {root}; end it, or choose another "
      "--run_dir"
    ) from error
  _locks.append(file)
