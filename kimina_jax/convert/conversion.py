"""Conversion of weights between Hugging Face directories and this project's.

In: a Hugging Face directory (config.json, safetensors, tokenizer files), or a
model directory or run of this project. Out: a directory of the other kind:
`params` (Orbax) and `model/` (config.json and tokenizer files), or a Hugging
Face directory. Values are kept bit for bit unless another dtype is asked for.

Weights stream through memory in pieces of a tensor, several at a time, so that
peak memory does not depend on the size of the model. The destination is written
under a temporary name and renamed when it is complete and on disk; an existing
one is never overwritten.
"""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from kimina_jax.convert.weights import (
  StoredWeights,
  chunk_shape,
  open_hf,
  open_ours,
  set_dtype,
)
from kimina_jax.infra.arrays import Arrays, ArraySpec, fill_checkpoint
from kimina_jax.infra.stream import stream
from kimina_jax.model import hf_weights
from kimina_jax.model.params import declarations
from kimina_jax.model.safetensors_io import Region
from kimina_jax.types import UsageError

# Files that are copied along with the weights.
_TOKENIZER_FILES = (
  "tokenizer*",
  "vocab.json",
  "merges.txt",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template*",
  "*.model",
)
_COPIED_FILES = ("config.json", "generation_config.json", *_TOKENIZER_FILES)
_MIN_SHARD_GIB = 1e-6
_CHUNK_BYTES = 2**25  # of the Orbax checkpoints that from_hf writes
_PIECE_BYTES = 2**26  # read and written at once, unless a chunk is larger
_MAX_BYTES = 2**28  # pieces in flight; each takes about four times its size


def from_hf(src: pathlib.Path, dst: pathlib.Path, *, dtype: str = "") -> None:
  """Hugging Face directory → `dst/params` and `dst/model/`.

  Args:
    src: with config.json and safetensors.
    dst: absent or empty.
    dtype: of the result; "" keeps that of src.

  Raises:
    UsageError: src is no complete checkpoint of a supported model, or dst is
      not empty.
  """
  with open_hf(src) as source, _new_directory(dst) as partial:
    stored = jnp.dtype(dtype or source.dtype)
    _copy_files(src, partial / "model")
    _write_config(partial / "model", source.hf_config, stored)
    specs = jax.tree.map(
      lambda leaf: ArraySpec(
        leaf.shape,
        stored,
        hf_weights.block_shape(leaf, stored.itemsize, _CHUNK_BYTES),
      ),
      declarations(source.config),
    )

    def fill(arrays: Arrays) -> None:
      def write(name: str, region: Region, values: np.ndarray) -> None:
        arrays[name][tuple(region)].write(values).result()

      chunks = {
        name: chunk_shape(array.chunk_layout.write_chunk)
        for name, array in arrays.items()
      }
      _copy_weights(source, write, dtype=stored, chunks=chunks)

    fill_checkpoint(partial / "params", specs, fill)


def to_hf(
  src: pathlib.Path, dst: pathlib.Path, *, shard_gib: float, dtype: str = ""
) -> None:
  """Model directory or run → Hugging Face directory.

  Args:
    src: with `model/`, and `params` or `checkpoints/`; of a run, the newest
      checkpoint is taken.
    dst: absent or empty.
    shard_gib: about the largest size of a safetensors file.
    dtype: of the result; "" takes that of src's config.json.

  Raises:
    UsageError: src holds no weights, or other weights than its config.json
      describes, or dst is not empty.
  """
  if not _MIN_SHARD_GIB <= shard_gib < math.inf:
    raise UsageError(
      f"--shard_gib={shard_gib}: the size of a file in GiB must be a number of"
      f" at least {_MIN_SHARD_GIB}"
    )
  with open_ours(src) as source, _new_directory(dst) as partial:
    config = source.config
    stored = jnp.dtype(dtype or config.param_dtype)
    _copy_files(src / "model", partial)
    _write_config(partial, source.hf_config, stored)
    with hf_weights.create_weights(
      partial, config, dtype=stored, shard_bytes=int(shard_gib * 2**30)
    ) as tensors:

      def write(name: str, region: Region, values: np.ndarray) -> None:
        hf_weights.write_leaf(tensors, source.leaves[name], region, values)

      _copy_weights(source, write, dtype=stored, chunks=source.chunks)


def _copy_weights(
  source: StoredWeights,
  write: Callable[[str, Region, np.ndarray], None],
  *,
  dtype: np.dtype,
  chunks: Mapping[str, tuple[int, ...]],
) -> None:
  """Copies all values, piece by piece, several pieces at a time.

  Args:
    source: where they are read.
    write: (name, region, values) → None.
    dtype: to cast to.
    chunks: shape of the chunks on the Orbax side, by name of the parameter;
      pieces are whole chunks.
  """
  itemsize = max(dtype.itemsize, source.dtype.itemsize)
  pieces = [
    (
      (name, region),
      itemsize * math.prod(part.stop - part.start for part in region),
    )
    for name, leaf in source.leaves.items()
    for region in hf_weights.leaf_regions(
      leaf, chunks[name], itemsize, _PIECE_BYTES
    )
  ]

  def copy(piece: tuple[str, Region]) -> None:
    name, region = piece
    write(name, region, source.read(name, region).astype(dtype, copy=False))

  for _ in stream(copy, pieces, title="converted", max_bytes=_MAX_BYTES):
    pass


def _write_config(
  directory: pathlib.Path, hf_config: dict[str, Any], dtype: np.dtype
) -> None:
  """Rewrites config.json if it names another dtype than the weights have."""
  written = set_dtype(hf_config, dtype)
  if written != hf_config:
    text = json.dumps(written, indent=2, ensure_ascii=False)
    (directory / "config.json").write_text(text + "\n")


def _copy_files(src: pathlib.Path, dst: pathlib.Path) -> None:
  """Copies config and tokenizer files; warns if there is no tokenizer."""
  if not any(any(src.glob(pattern)) for pattern in _TOKENIZER_FILES):
    logging.warning(
      "%s has no tokenizer files, so that the result has none either: copy"
      " them there before it is used",
      src,
    )
  dst.mkdir(exist_ok=True)
  for pattern in _COPIED_FILES:
    for path in src.glob(pattern):
      shutil.copyfile(path, dst / path.name)


@contextlib.contextmanager
def _new_directory(dst: pathlib.Path) -> Iterator[pathlib.Path]:
  """A temporary directory to fill, which is renamed to dst on success."""
  dst = dst.absolute()
  if dst.exists() and not (dst.is_dir() and not any(dst.iterdir())):
    raise UsageError(f"{dst} exists and is not empty: choose another DST")
  partial = dst.with_name(f".{dst.name}.partial")
  try:
    partial.mkdir(parents=True, exist_ok=True)
    with _exclusive(partial, dst):
      yield partial
      _sync(partial)
      partial.rename(dst)
  except (OSError, ValueError) as error:
    # TensorStore reports the errors of the system as ValueError.
    if isinstance(error, ValueError) and "os_error_code" not in str(error):
      raise
    raise UsageError(f"cannot write {dst}: {error}") from error


@contextlib.contextmanager
def _exclusive(partial: pathlib.Path, dst: pathlib.Path) -> Iterator[None]:
  """Locks and empties the temporary directory; removes it after a failure."""
  file = os.open(partial, os.O_RDONLY)
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UsageError(f"another conversion is writing {dst}") from error
    try:
      # Files of a conversion that was killed.
      for path in partial.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
      yield
    except BaseException:
      shutil.rmtree(partial, ignore_errors=True)
      raise
  finally:
    os.close(file)


def _sync(directory: pathlib.Path) -> None:
  """Flushes the files and directories to disk."""
  for path in (*directory.rglob("*"), directory):
    file = os.open(path, os.O_RDONLY)
    try:
      os.fsync(file)
    finally:
      os.close(file)
