"""Orbax checkpoints, array by array and piece by piece.

In: shapes, dtypes and chunks of arrays to come, or a checkpoint. Out: open
TensorStore arrays, to fill or to read in any order by any thread. A checkpoint
that is filled here is complete or absent, and restores as any other does.
Never holds an array: for trees of them there is checkpoint.py.
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

from kimina_jax.infra.checkpoint import check_tree

PyTree = Any
Arrays = Mapping[str, ts.TensorStore]  # by name, "layers.attention.q_DNH"


@dataclasses.dataclass(frozen=True)
class Blank:
  """An array to come.

  Attributes:
    shape: its sizes.
    dtype: its dtype.
    chunk: sizes of the pieces that it is stored and should be filled in; one
      that is filled in part is read and written again.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  chunk: tuple[int, ...]


def fill_checkpoint(
  path: pathlib.Path, blanks: PyTree, fill: Callable[[Arrays], None]
) -> None:
  """Writes a checkpoint whose arrays `fill` writes.

  Args:
    path: absolute; appears when all is well.
    blanks: the tree, of Blank.
    fill: is given the open arrays and fills every chunk of them.
  """
  registry = ocp.type_handlers.create_type_handler_registry(
    (Blank, _BlankHandler(fill))
  )
  with _without_warnings():
    # One file per chunk: what is written is on disk and not in a cache.
    handler = ocp.PyTreeCheckpointHandler(
      use_ocdbt=False, type_handler_registry=registry
    )
    with ocp.Checkpointer(handler) as checkpointer:
      checkpointer.save(path, args=ocp.args.PyTreeSave(blanks))


def open_checkpoint(path: pathlib.Path, wanted: PyTree) -> Arrays:
  """The arrays of a checkpoint, to read.

  Args:
    path: of the tree, e.g. `<model>/params`.
    wanted: ShapeDtypeStructs of what it should hold; dtypes may differ.

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


class _BlankHandler(ocp.type_handlers.NumpyHandler):
  """Lets Orbax save Blanks, as arrays of NumPy."""

  def __init__(self, fill: Callable[[Arrays], None]):
    super().__init__()
    self._fill = fill

  async def serialize(
    self,
    values: Sequence[Blank],
    infos: Sequence[ocp.type_handlers.ParamInfo],
    args: Sequence[ocp.SaveArgs] | None = None,
  ) -> Sequence[ocp.Future]:
    del args
    arrays = {}
    for blank, info in zip(values, infos, strict=True):
      await info.await_path_creation()
      spec = _spec(pathlib.Path(info.parent_dir), info.name)
      spec["metadata"] = {
        "shape": blank.shape,
        "chunks": blank.chunk,
        "compressor": {"id": "zstd", "level": 1},
      }
      arrays[info.name] = await ts.open(
        spec | {"dtype": blank.dtype.name}, create=True
      )
    self._fill(arrays)
    return []


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Hides that Orbax finds neither a jax.Array nor OCDBT: it was told so."""
  logger = logging.getLogger("absl")

  def keep(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING or "orbax" not in record.pathname

  logger.addFilter(keep)
  try:
    yield
  finally:
    logger.removeFilter(keep)


def _spec(path: pathlib.Path, name: str) -> dict[str, Any]:
  """How TensorStore finds an array of a checkpoint."""
  store: dict[str, Any] = {"driver": "file", "path": f"{path / name}/"}
  if ocp.type_handlers.is_ocdbt_checkpoint(path):
    base = {"driver": "file", "path": f"{path}/"}
    store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
  return {
    "driver": "zarr",
    "kvstore": store,
    # A chunk that is not there is damage, not zeros.
    "fill_missing_data_reads": False,
    "store_data_equal_to_fill_value": True,
  }
