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

# What may change between starts: how long to run, what to watch, and what
# belongs to the machine rather than to the experiment.
_MACHINE = (
  "mesh.",
  "model.attention",
  "model.remat",
  "optimizer.offload",
  "rollouts.tensor",
  "checkpoint.",
  "checker.command",
  "checker.lean_path",
  "checker.num_workers",
  "checker.max_uses",
  "checker.memory_gib",
  "checker.isolation",
)
_MAY_CHANGE = {
  "train": (*_MACHINE, "train.num_iterations", "eval."),
  "sft": (*_MACHINE, "eval.", "sft.save_every", "sft.log_every"),
  "evaluate": (*_MACHINE, "eval.ks", "eval.every"),
}
_locks = []  # held until the process ends


def open_run(
  run_dir: str | pathlib.Path,
  config: Mapping,
  *,
  program: str,
  write_model: Callable[[pathlib.Path], None],
) -> pathlib.Path:
  """Makes the directory of a run, or finds the one begun before.

  Args:
    run_dir: where; made if missing.
    config: the experiment as a nested dict of JSON values.
    program: `train`, `sft` or `evaluate`; a directory holds one program's run.
    write_model: writes `model/` (configuration and tokenizer).

  Returns:
    The directory.

  Raises:
    UsageError: it holds a run with another configuration (names the keys), or
      another process is at work in it.
  """
  root = pathlib.Path(run_dir)
  if distributed.is_first():
    _open(root, config, program, write_model)
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
  program: str,
  write_model: Callable[[pathlib.Path], None],
) -> None:
  wanted = json.loads(json.dumps({"program": program, **config}))
  path = root / "config.json"
  if path.exists() and _has_begun(root):
    _check_same(root, json.loads(path.read_text()), wanted)
  try:
    root.mkdir(parents=True, exist_ok=True)
    _lock(root)
    write_model(root / "model")
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(wanted, indent=2, ensure_ascii=False))
    partial.rename(path)
  except OSError as error:
    raise UsageError(f"cannot write the run directory {root}: {error}") from (
      error
    )


def _has_begun(root: pathlib.Path) -> bool:
  """Whether there is anything that another configuration would spoil."""
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


def _check_same(root: pathlib.Path, old: Mapping, new: Mapping) -> None:
  may_change = _MAY_CHANGE[new["program"]]
  old, new = _flatten(old), _flatten(new)
  changed = [
    f"{key}: {old.get(key, 'absent')!r} there, {new.get(key, 'absent')!r} now"
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key) and not key.startswith(may_change)
  ]
  if changed:
    raise UsageError(
      f"{root} holds a run with another configuration ("
      + "; ".join(changed)
      + "). Resume it with the same one, or choose another --run_dir."
    )


def _flatten(tree: Mapping, prefix: str = "") -> dict[str, object]:
  flat = {}
  for key, value in tree.items():
    name = f"{prefix}{key}"
    if isinstance(value, Mapping):
      flat.update(_flatten(value, name + "."))
    else:
      flat[name] = value
  return flat
