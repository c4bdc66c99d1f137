"""Orbax checkpoints written and read array by array, in chunks.

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

from kimina_jax.infra.checkpoint import check_tree

PyTree = Any
Arrays = Mapping[str, ts.TensorStore]  # by name, "layers.attention.q_DNH"


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
