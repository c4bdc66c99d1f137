"""Checkpoints: everything a run needs to go on as if it had not stopped.

In: parameters, optimizer state (device arrays on any mesh) and the host's
state (JSON). Out: `<run>/checkpoints/<step>/{params,opt_state,host}`, written
by Orbax in the background, complete or absent, the newest few kept.
Never writes into a checkpoint that exists and never loads one that differs
from what is asked for.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from kimina_jax.types import UsageError, check_numbers

PyTree = Any
_CHUNK_BYTES = 2**26  # of a stored array; a chunk is read as a whole
_MAX_DIFFERENCES = 8  # lines of an error message


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
  """When to save and what to keep: the `checkpoint` section of an experiment.

  Attributes:
    every: iterations of RL between saves.
    max_to_keep: newest checkpoints that are kept; older ones are removed.
  """

  every: int
  max_to_keep: int

  def __post_init__(self):
    check_numbers("checkpoint", self, counts=("every", "max_to_keep"))


class Restored(NamedTuple):
  """What a checkpoint held; `opt_state` is None if it was not asked for."""

  params: PyTree
  opt_state: PyTree
  host: dict[str, Any]


class Checkpointer:
  """Owns `<run>/checkpoints`: saves in the background, keeps the newest.

  A failure of a background save surfaces as UsageError in the next `save`,
  `wait` or `close`; the checkpoints before it stay as they were.
  """

  def __init__(
    self, directory: str | pathlib.Path, settings: CheckpointSettings
  ):
    """Opens the directory and removes what a killed save left in it.

    Args:
      directory: of the run; checkpoints go to its `checkpoints`.
      settings: steps between saves, and how many checkpoints to keep.
    """
    self._path = _absolute(directory) / "checkpoints"
    self._every = settings.every
    _quiet_orbax()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=settings.max_to_keep, cleanup_tmp_directories=True
    )
    with _storage_errors(self._path):
      self._manager = ocp.CheckpointManager(self._path, options=options)

  def save(
    self,
    step: int,
    *,
    params: PyTree,
    opt_state: PyTree = None,
    host: dict[str, Any],
    force: bool = False,
  ) -> bool:
    """Starts a save if one is due; returns whether it did.

    The arrays may be donated as soon as this returns.

    Args:
      step: steps done so far; due if a multiple of `every`.
      params: the parameters.
      opt_state: the optimizer's state; None if the next step resets it.
      host: JSON: curriculum, carried rollouts, counters.
      force: save although none is due (SIGTERM, the last step).
    """
    with _storage_errors(self._path):
      # A failed save must not stay hidden until the next one is due; the
      # wait is over at once, and raises what the last save died of.
      if not self._manager.is_saving_in_progress():
        self._manager.wait_until_finished()
      due = force or step % self._every == 0
      if not due or step in self._manager.all_steps():
        return False
      # The copy: JSON is written in the background, while `host` may change.
      host = json.loads(json.dumps(host))
      items = {
        "params": _standard_save(params),
        "host": ocp.args.JsonSave(host),
      }
      if opt_state is not None:
        items["opt_state"] = _standard_save(opt_state)
      return self._manager.save(step, args=ocp.args.Composite(**items))

  def latest_step(self) -> int | None:
    """The newest checkpoint, also while it is being saved; None without."""
    return self._manager.latest_step()

  def restore(
    self, step: int, *, params: PyTree, opt_state: PyTree = None
  ) -> Restored:
    """Loads a checkpoint of this run, bit for bit.

    Args:
      step: as given to `save`.
      params: ShapeDtypeStructs with shardings; any mesh will do.
      opt_state: likewise, or None to leave it on disk.

    Raises:
      UsageError: names, shapes or dtypes differ, or it is not there.
    """
    path = self._path / str(step)
    items = {"host": ocp.args.JsonRestore()}
    for name, tree in (("params", params), ("opt_state", opt_state)):
      if tree is not None:
        check_tree(path / name, tree, dtypes=True)
        items[name] = ocp.args.StandardRestore(tree)
    found = self._manager.restore(step, args=ocp.args.Composite(**items))
    return Restored(found["params"], found.get("opt_state"), found["host"])

  def wait(self) -> None:
    """Returns when every save that was started is complete."""
    with _storage_errors(self._path):
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the saves, then lets go of the directory."""
    with _storage_errors(self._path):
      self._manager.close()


def restore_params(path: str | pathlib.Path, abstract_params: PyTree) -> PyTree:
  """Loads weights to start from, whoever wrote them.

  Args:
    path: a model directory (`<path>/params`, as convert writes it) or a run
      directory, of which the newest checkpoint is taken.
    abstract_params: ShapeDtypeStructs with shardings. Values are cast to
      their dtypes.

  Raises:
    UsageError: no weights at the path, or names or shapes differ.
  """
  _quiet_orbax()
  directory = find_weights(path) / "params"
  check_tree(directory, abstract_params, dtypes=False)
  with contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
    return checkpointer.restore(directory, abstract_params)


def find_weights(path: str | pathlib.Path) -> pathlib.Path:
  """The directory that holds `params/`: a model, or a run's newest step.

  Raises:
    UsageError: there are no weights at the path.
  """
  path = _absolute(path)
  if (path / "params").is_dir():
    return path
  step = newest_step(path)
  if step is not None:
    return path / "checkpoints" / str(step)
  if not path.is_dir():
    raise UsageError(f"no such directory: {path}; give a model or a run")
  if any(path.glob("*.safetensors")):
    raise UsageError(
      f"{path} is a Hugging Face directory: convert it first, with"
      f" `python -m kimina_jax.convert from-hf {path} DST`"
    )
  raise UsageError(
    f"no weights in {path}: a model directory holds params/ and a run "
    "directory at least one complete step in checkpoints/"
  )


def newest_step(run_dir: str | pathlib.Path) -> int | None:
  """Step of a run's newest complete checkpoint; None if it has none."""
  steps = ocp.utils.checkpoint_steps(_absolute(run_dir) / "checkpoints")
  return max(steps, default=None)


def check_tree(path: pathlib.Path, wanted: PyTree, *, dtypes: bool) -> None:
  """One error for all that differs between a saved tree and the wanted."""
  if not path.is_dir():
    raise UsageError(f"no {path.name} in the checkpoint {path.parent}")
  saved = _saved_leaves(path)
  wanted = _leaves(wanted)
  differences = [
    f"{name}: {_show(saved.get(name), dtypes)} in the checkpoint, "
    f"{_show(wanted.get(name), dtypes)} in this configuration"
    for name in sorted(saved.keys() | wanted.keys())
    if _show(saved.get(name), dtypes) != _show(wanted.get(name), dtypes)
  ]
  if differences:
    num_more = len(differences) - _MAX_DIFFERENCES
    more = [f"and {num_more} more"] if num_more > 0 else []
    raise UsageError(
      f"{path} does not fit the configured model or optimizer:\n  "
      + "\n  ".join(differences[:_MAX_DIFFERENCES] + more)
    )


def _standard_save(tree: PyTree) -> ocp.args.StandardSave:
  """Saves in chunks that can be read one by one, on little memory."""
  chunked = ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES)
  return ocp.args.StandardSave(tree, jax.tree.map(lambda _: chunked, tree))


def _saved_leaves(path: pathlib.Path) -> dict[str, Any]:
  handler = ocp.StandardCheckpointHandler()
  try:
    return _leaves(handler.metadata(epath.Path(path)).tree)
  except FileNotFoundError as error:
    raise UsageError(f"{path} is not a checkpoint: {error}") from error
  finally:
    handler.close()


def _leaves(tree: PyTree) -> dict[str, Any]:
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in leaves
  }


def _show(leaf: Any, dtypes: bool) -> str:
  if leaf is None:
    return "absent"
  shape = str(list(leaf.shape))
  return f"{leaf.dtype}{shape}" if dtypes else shape


@contextlib.contextmanager
def _storage_errors(path: pathlib.Path) -> Iterator[None]:
  """Says in one line that the storage failed: full, read-only, gone."""
  try:
    yield
  except (OSError, ValueError) as error:
    # TensorStore reports the errors of the system as ValueError.
    system = re.search(r"([^:]*) \[os_error_code=", str(error))
    if not isinstance(error, OSError) and not system:
      raise
    reason = system.group(1).strip() if system else error.strerror or error
    raise UsageError(
      f"cannot save in {path}: {reason}. Earlier checkpoints are intact; "
      "mend this, then run the same command again to go on from the newest."
    ) from error


def _quiet_orbax() -> None:
  """Leaves Orbax its warnings: its errors are raised as well."""
  logging.getLogger("absl").addFilter(_is_worth_showing)


def _is_worth_showing(record: logging.LogRecord) -> bool:
  return record.levelno == logging.WARNING or "orbax" not in record.pathname


def _absolute(path: str | pathlib.Path) -> pathlib.Path:
  return pathlib.Path(path).expanduser().absolute()
