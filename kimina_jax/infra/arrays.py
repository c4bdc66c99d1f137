"""Chunked access to the arrays of Orbax checkpoints.

In: shapes, dtypes and chunks of arrays to be written, or a checkpoint. Out:
open TensorStore arrays, which any thread writes or reads in any order. A
checkpoint that is written here is complete or absent, and restores like any
other. Never holds an array in memory; checkpoint.py saves trees of them.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from etils import epath

from kimina_jax.types import UsageError

PyTree = Any
Arrays = Mapping[str, ts.TensorStore]  # by name, "layers.attention.q_DNH"
# What Orbax and TensorStore raise for files that are missing, torn or garbled.
DAMAGES = (ValueError, OSError, KeyError)
_MAX_DIFFERENCES = 8  # lines of an error message
_MAX_MESSAGE_CHARS = 200  # characters of another library's message


@dataclasses.dataclass(frozen=True)
class ArraySpec:
  """Specification of an array that is to be written.

  Attributes:
    shape: of the array.
    dtype: of the array.
    chunk: shape of the chunks in which it is stored and should be written; a
      chunk that is written in part is read and written again.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  chunk: tuple[int, ...]


def fill_checkpoint(
  path: pathlib.Path, specs: PyTree, fill: Callable[[Arrays], None]
) -> None:
  """Makes a checkpoint whose arrays are written by `fill`.

  Args:
    path: absolute; it appears when the checkpoint is complete.
    specs: tree of ArraySpec.
    fill: called with the open arrays; writes every chunk of them.
  """
  registry = ocp.type_handlers.create_type_handler_registry(
    (ArraySpec, _SpecHandler(fill))
  )
  with _without_warnings():
    # One file per chunk: chunks go to disk at once, not to a cache.
    handler = ocp.PyTreeCheckpointHandler(
      use_ocdbt=False, type_handler_registry=registry
    )
    with ocp.Checkpointer(handler) as checkpointer:
      checkpointer.save(path, args=ocp.args.PyTreeSave(specs))


def open_checkpoint(path: pathlib.Path, wanted: PyTree) -> Arrays:
  """Opens the arrays of a checkpoint for reading.

  Args:
    path: of the tree, e.g. `<model>/params`.
    wanted: ShapeDtypeStructs with the tree's names and shapes; dtypes may
      differ.

  Raises:
    UsageError: it is no checkpoint, or names or shapes differ.
  """
  check_tree(path, wanted, dtypes=False)
  names = [
    jax.tree_util.keystr(key, simple=True, separator=".")
    for key, _ in jax.tree.leaves_with_path(wanted)
  ]
  futures = {name: ts.open(_spec(path, name)) for name in names}
  return {name: future.result() for name, future in futures.items()}


class DamagedError(UsageError):
  """A checkpoint that cannot be read."""


def local_path(path: str | pathlib.Path) -> pathlib.Path:
  """A path on this machine; "gs://…" would become a directory called "gs:".

  Raises:
    UsageError: it is an address.
  """
  if "://" in str(path):
    raise UsageError(
      f"{path}: remote paths are not supported here; name a directory on a file"
      " system that all hosts share"
    )
  return pathlib.Path(path).expanduser()


def check_tree(path: pathlib.Path, wanted: PyTree, *, dtypes: bool) -> None:
  """Compares a saved tree with the wanted one.

  Args:
    path: of the saved tree, e.g. `<model>/params`.
    wanted: ShapeDtypeStructs.
    dtypes: whether dtypes have to be equal, too.

  Raises:
    UsageError: lists all differences.
  """
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


def first_words(error: Exception) -> str:
  """The beginning of an error message, which may have pages."""
  text = " ".join(str(error).split())
  return text.split(" [")[0][:_MAX_MESSAGE_CHARS]


class _SpecHandler(ocp.type_handlers.NumpyHandler):
  """Type handler that makes Orbax save ArraySpecs as NumPy arrays."""

  def __init__(self, fill: Callable[[Arrays], None]):
    super().__init__()
    self._fill = fill

  async def serialize(
    self,
    values: Sequence[ArraySpec],
    infos: Sequence[ocp.type_handlers.ParamInfo],
    args: Sequence[ocp.SaveArgs] | None = None,
  ) -> Sequence[ocp.Future]:
    del args
    arrays = {}
    for array_spec, info in zip(values, infos, strict=True):
      await info.await_path_creation()
      spec = _spec(pathlib.Path(info.parent_dir), info.name)
      spec["metadata"] = {
        "shape": array_spec.shape,
        "chunks": array_spec.chunk,
        "compressor": {"id": "zstd", "level": 1},
      }
      arrays[info.name] = await ts.open(
        spec | {"dtype": array_spec.dtype.name}, create=True
      )
    self._fill(arrays)
    return []


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Hides Orbax's warnings that no jax.Array and no OCDBT is saved."""
  logger = logging.getLogger("absl")

  def keep(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING or "orbax" not in record.pathname

  logger.addFilter(keep)
  try:
    yield
  finally:
    logger.removeFilter(keep)


def _spec(path: pathlib.Path, name: str) -> dict[str, Any]:
  """TensorStore's spec of an array of a checkpoint."""
  store: dict[str, Any] = {"driver": "file", "path": f"{path / name}/"}
  if ocp.type_handlers.is_ocdbt_checkpoint(path):
    base = {"driver": "file", "path": f"{path}/"}
    store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
  return {
    "driver": "zarr",
    "kvstore": store,
    # A chunk that is absent is damage, not zeros.
    "fill_missing_data_reads": False,
    "store_data_equal_to_fill_value": True,
  }


def _saved_leaves(path: pathlib.Path) -> dict[str, Any]:
  handler = ocp.StandardCheckpointHandler()
  try:
    return _leaves(handler.metadata(epath.Path(path)).tree)
  except DAMAGES as error:
    raise DamagedError(
      f"{path} is not a checkpoint: {first_words(error)}"
    ) from error
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
