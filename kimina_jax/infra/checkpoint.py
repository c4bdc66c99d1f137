"""Checkpoints of a run, from which it resumes with bit-equal results.

In: parameters, optimizer state (device arrays on any mesh) and the host's
state (JSON). Out: `<run>/checkpoints/<step>/{params,opt_state,host}`, written
by Orbax in the background, complete or absent; the newest few are kept.
Never writes into an existing checkpoint and never loads one whose names, shapes
or dtypes differ from the wanted.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from kimina_jax.infra.arrays import (
  DAMAGES,
  DamagedError,
  check_tree,
  first_words,
  local_path,
  open_checkpoint,
)
from kimina_jax.types import UsageError, check_numbers

PyTree = Any
_CHUNK_BYTES = 2**26  # of a stored array; a chunk is read as a whole
_LEFT_OVERS = ("Event loop is closed", "sys.meta_path is None")


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
  """Contents of a checkpoint; `opt_state` is None if it was left on disk."""

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
      host: JSON: curriculum, partial groups, counters.
      force: save although none is due (SIGTERM, the last step).
    """
    with _storage_errors(self._path):
      # A failed save must not stay hidden until the next one is due; the
      # wait returns at once, or raises the error of the last save.
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
      UsageError: names, shapes or dtypes differ, or the checkpoint is damaged;
        then the message names the newest one that is not.
    """
    path = self._path / str(step)
    items: dict[str, Any] = {"host": ocp.args.JsonRestore()}
    trees = {"params": params}
    if opt_state is not None:
      trees["opt_state"] = opt_state
    try:
      for name, tree in trees.items():
        check_tree(path / name, tree, dtypes=True)
        items[name] = ocp.args.StandardRestore(tree)
      found = self._manager.restore(step, args=ocp.args.Composite(**items))
    except Exception as error:
      damage = _find_damage(error)
      if damage is None:
        raise
      raise UsageError(self._explain_damage(step, trees, damage)) from error
    return Restored(found["params"], found.get("opt_state"), found["host"])

  def _explain_damage(
    self, step: int, trees: dict[str, PyTree], error: Exception
  ) -> str:
    path = self._path / str(step)
    older = (s for s in sorted(self._manager.all_steps())[::-1] if s < step)
    whole = next(
      (s for s in older if _is_whole(self._path / str(s), trees)), None
    )
    remedy = "no older one is intact: start again in another --run_dir"
    if whole is not None:
      remedy = (
        f"checkpoint {whole} is intact: move {path} away, and the same command"
        f" resumes from {whole}"
      )
    return f"{path} is damaged ({first_words(error)}); {remedy}"

  def wait(self) -> None:
    """Returns when every save that was started is complete."""
    with _storage_errors(self._path):
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the saves, then closes the directory."""
    with _storage_errors(self._path):
      self._manager.close()


def restore_params(path: str | pathlib.Path, abstract_params: PyTree) -> PyTree:
  """Loads the weights that a run starts from.

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
  try:
    with contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
      return checkpointer.restore(directory, abstract_params)
  except Exception as error:
    damage = _find_damage(error)
    if damage is None:
      raise
    raise UsageError(
      f"{directory} is damaged ({first_words(damage)}); choose other weights,"
      " or write them again"
    ) from error


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


def _standard_save(tree: PyTree) -> ocp.args.StandardSave:
  """Saves in chunks, so that a reader needs little memory."""
  chunked = ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES)
  return ocp.args.StandardSave(tree, jax.tree.map(lambda _: chunked, tree))


def _is_whole(path: pathlib.Path, trees: dict[str, PyTree]) -> bool:
  """Whether all that a checkpoint should hold can be read."""
  try:
    json.loads((path / "host" / "metadata").read_text())
    for name, tree in trees.items():
      for array in open_checkpoint(path / name, tree).values():
        array.read().result()
  except DAMAGES:
    return False
  return True


def _find_damage(error: BaseException | None) -> Exception | None:
  """The exception that reports a damaged file; None for other failures.

  Orbax may have raised an Exception from it.
  """
  while error is not None:
    is_usage = isinstance(error, UsageError)
    if isinstance(error, DamagedError):
      return error
    if isinstance(error, DAMAGES) and not is_usage:
      return error
    error = error.__cause__
  return None


@contextlib.contextmanager
def _storage_errors(path: pathlib.Path) -> Iterator[None]:
  """Raises UsageError for storage that is full, read-only or absent."""
  try:
    yield
  except (OSError, ValueError) as error:
    reason = _system_reason(error)
    if reason is None:
      raise
    raise UsageError(
      f"cannot save in {path}: {reason}. Earlier checkpoints are intact; "
      "fix this, then run the same command again to resume from the newest."
    ) from error


def _system_reason(error: BaseException) -> str | None:
  """The operating system's message for a failure; None for other failures."""
  if isinstance(error, OSError):
    return error.strerror or str(error)
  # TensorStore reports the errors of the system as ValueError.
  found = re.search(r"([^:]*) \[os_error_code=", str(error))
  return found.group(1).strip() if found else None


def _quiet_orbax() -> None:
  """Hides messages of Orbax and TensorStore about what is raised as well."""
  logging.getLogger("absl").addFilter(_is_worth_showing)
  hook = sys.unraisablehook
  if getattr(hook, "__module__", "") == __name__:
    return

  def show(unraisable: Any) -> None:
    # After a failure, TensorStore calls back for each array still in flight,
    # and finds the event loop closed; coroutines are left over at exit.
    if not str(unraisable.exc_value).startswith(_LEFT_OVERS):
      hook(unraisable)

  sys.unraisablehook = show


def _is_worth_showing(record: logging.LogRecord) -> bool:
  """False for messages of Orbax below a warning, and for failures to store.

  Those are raised by the next `save`, `wait` or `close`.
  """
  if "orbax" not in record.pathname:
    return True
  error = record.exc_info[1] if record.exc_info else None
  is_raised = error is not None and _system_reason(error) is not None
  return record.levelno >= logging.WARNING and not is_raised


def _absolute(path: str | pathlib.Path) -> pathlib.Path:
  return local_path(path).absolute()
