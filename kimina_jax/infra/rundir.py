"""The directory of a run, locked by the process that works in it.

RUN/config.json      the experiment, as it was started
RUN/model/           config.json (Hugging Face) and tokenizer files
RUN/checkpoints/     STEP/params, STEP/opt_state, STEP/host
RUN/metrics.jsonl    a row per step
RUN/rollouts.jsonl   responses of the policy, with their verdicts
RUN/tensorboard/     the metrics for TensorBoard
RUN/wandb/           files of Weights & Biases, if the run uses it
RUN/report.html      the page of `kimina report`

In a job of several processes it lies on a file system that all of them share;
process 0 makes it for all.
"""

import contextlib
import fcntl
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping

from kimina_jax.infra import distributed
from kimina_jax.types import UsageError


@contextlib.contextmanager
def open_run_dir(
  run_dir: str | pathlib.Path,
  config: Mapping,
  *,
  write_model: Callable[[pathlib.Path], None],
) -> Iterator[pathlib.Path]:
  """Makes the directory of a run, or reopens that of an earlier start.

  It is locked until the context ends.

  Args:
    run_dir: the directory; made if it is missing.
    config: program and experiment as a nested dict of JSON values; see
      pipeline/resume_policy.py for what may differ from an earlier start.
    write_model: writes `model/` (configuration and tokenizer).

  Yields:
    The directory.

  Raises:
    UsageError: it cannot be written, or another process works in it.
  """
  root = pathlib.Path(run_dir)
  with contextlib.ExitStack() as stack:
    if distributed.is_first():
      stack.enter_context(_locked(root))
      _write(root, config, write_model)
    distributed.gather(None)  # The others continue once it is complete.
    if not (root / "config.json").exists():
      raise UsageError(
        f"the run directory {root.absolute()} of process 0 is not here; choose "
        "one on a file system that all processes share"
      )
    yield root


def has_begun(root: pathlib.Path) -> bool:
  """Whether a run has written rows or a checkpoint to the directory."""
  files = (root / name for name in ("metrics.jsonl", "rollouts.jsonl"))
  return any(root.glob("checkpoints/[0-9]*")) or any(
    file.exists() and file.stat().st_size for file in files
  )


@contextlib.contextmanager
def _locked(root: pathlib.Path) -> Iterator[None]:
  """Makes and locks the directory: two processes would mix their rows.

  The system releases the lock of a process that is killed.
  """
  try:
    root.mkdir(parents=True, exist_ok=True)
    file = open(root / ".lock", "w")
  except OSError as error:
    raise _unwritable(root, error) from error
  with file:
    try:
      fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UsageError(
        f"another process holds the lock of {root}; end it, or choose another "
        "--run_dir"
      ) from error
    except OSError as error:
      raise _unwritable(root, error) from error
    yield


def _write(
  root: pathlib.Path,
  config: Mapping,
  write_model: Callable[[pathlib.Path], None],
) -> None:
  path = root / "config.json"
  try:
    write_model(root / "model")
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(config, indent=2, ensure_ascii=False))
    partial.rename(path)
  except OSError as error:
    raise _unwritable(root, error) from error


def _unwritable(root: pathlib.Path, error: OSError) -> UsageError:
  return UsageError(f"cannot write the run directory {root}: {error}")
