"""The directory of a run: what it is, and that it stays the same run.

RUN/config.json      the experiment, as it was started
RUN/model/           config.json (Hugging Face) and tokenizer files
RUN/checkpoints/     STEP/params, STEP/opt_state, STEP/host
RUN/metrics.jsonl    a row per step
RUN/rollouts.jsonl   what the policy wrote, and the verdicts
RUN/tensorboard/     the same numbers for TensorBoard
RUN/report.html      a page to read
"""

import json
import pathlib
from collections.abc import Callable, Mapping

from kimina_jax.types import UsageError

# How long to run and what to watch may change between starts.
_MAY_CHANGE = ("train.num_iterations", "eval.", "checkpoint.")


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
    UsageError: it holds a run with another configuration; names the keys.
  """
  root = pathlib.Path(run_dir)
  wanted = json.loads(json.dumps({"program": program, **config}))
  path = root / "config.json"
  if path.exists():
    _check_same(root, json.loads(path.read_text()), wanted)
  try:
    root.mkdir(parents=True, exist_ok=True)
    write_model(root / "model")
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(wanted, indent=2, ensure_ascii=False))
    partial.rename(path)
  except OSError as error:
    raise UsageError(f"cannot write the run directory {root}: {error}") from (
      error
    )
  return root


def _check_same(root: pathlib.Path, old: Mapping, new: Mapping) -> None:
  old, new = _flatten(old), _flatten(new)
  changed = [
    f"{key}: {old.get(key, 'absent')!r} there, {new.get(key, 'absent')!r} now"
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key) and not key.startswith(_MAY_CHANGE)
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
