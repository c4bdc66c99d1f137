"""Hugging Face checkpoints to this project's and back, of any size.

  python -m kimina_jax.convert from-hf SRC DST [--dtype=bfloat16]
  python -m kimina_jax.convert to-hf SRC DST [--dtype=…] [--shard_gib=5]
  python -m kimina_jax.convert verify A B

`from-hf` reads a directory with config.json, safetensors and tokenizer files
and writes `DST/params` (Orbax) and `DST/model/` (the rest). `to-hf` reads such
a directory, or a run and its newest checkpoint. Values are kept bit for bit
unless another dtype is asked for. `verify` says which tensors of two
directories of any kind differ, by how much, and ends with 1 if some do.

Weights stream through memory in pieces of a tensor, several at a time, so that
a large model takes no more of it than a small one. DST appears complete or not
at all; what exists is never overwritten; after an interruption the same
command starts again.
"""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from kimina_jax.convert.compare import compare
from kimina_jax.convert.weights import (
  Weights,
  open_hf,
  open_ours,
  open_weights,
  set_dtype,
)
from kimina_jax.infra import cli
from kimina_jax.infra.arrays import Arrays, Blank, fill_checkpoint
from kimina_jax.infra.stream import stream
from kimina_jax.model import hf_weights
from kimina_jax.model.config import DTYPES
from kimina_jax.model.params import declarations
from kimina_jax.model.safetensors_io import Region
from kimina_jax.types import UsageError

_SHARD_GIB = flags.DEFINE_float(
  "shard_gib", 5.0, "to-hf: size of a safetensors file.", lower_bound=1e-6
)
_DTYPE = flags.DEFINE_enum(
  "dtype", None, DTYPES, "from-hf, to-hf: dtype to convert to."
)

# What travels beside the weights.
_COMPANIONS = (
  *("config.json", "generation_config.json", "tokenizer*", "vocab.json"),
  *("merges.txt", "special_tokens_map.json", "added_tokens.json"),
  *("chat_template*", "*.model"),
)
_CHUNK_BYTES = 2**25  # of a checkpoint that from_hf writes
_PIECE_BYTES = 2**26  # read and written at once, unless a chunk is larger
_MAX_BYTES = 2**28  # pieces in hand; each is held some four times


def from_hf(src: pathlib.Path, dst: pathlib.Path, *, dtype: str = "") -> None:
  """Hugging Face directory → `dst/params` and `dst/model/`.

  Args:
    src: with config.json and safetensors.
    dst: absent or empty.
    dtype: of the result; "" keeps that of src.

  Raises:
    UsageError: src is no complete Qwen2 checkpoint, or dst is not empty.
  """
  with open_hf(src) as source, _appearing(dst) as partial:
    stored = jnp.dtype(dtype or source.dtype)
    _copy_companions(src, partial / "model")
    _write_config(partial / "model", source.raw, stored)
    blanks = jax.tree.map(
      lambda leaf: Blank(
        leaf.shape,
        stored,
        hf_weights.block_shape(leaf, stored.itemsize, _CHUNK_BYTES),
      ),
      declarations(source.config),
    )

    def fill(arrays: Arrays) -> None:
      chunks = {
        name: array.chunk_layout.write_chunk.shape
        for name, array in arrays.items()
      }
      _copy(
        source,
        lambda name, region, values: (
          arrays[name][region].write(values).result()
        ),
        dtype=stored,
        chunks=chunks,
      )

    fill_checkpoint(partial / "params", blanks, fill)


def to_hf(
  src: pathlib.Path, dst: pathlib.Path, *, shard_gib: float, dtype: str = ""
) -> None:
  """Model or run directory → Hugging Face directory.

  Args:
    src: with `model/`, and `params` or `checkpoints/`.
    dst: absent or empty.
    shard_gib: at most about this much in one safetensors file.
    dtype: of the result; "" takes that of src's config.json.

  Raises:
    UsageError: src holds no weights or others than its config.json says, or
      dst is not empty.
  """
  with open_ours(src) as source, _appearing(dst) as partial:
    config = source.config
    stored = jnp.dtype(dtype or config.param_dtype)
    _copy_companions(src / "model", partial)
    _write_config(partial, source.raw, stored)
    with hf_weights.create_weights(
      partial, config, dtype=stored, shard_bytes=int(shard_gib * 2**30)
    ) as tensors:
      _copy(
        source,
        lambda name, region, values: hf_weights.write(
          tensors, source.leaves[name], region, values
        ),
        dtype=stored,
        chunks=source.chunks,
      )


def verify(a: pathlib.Path, b: pathlib.Path) -> int:
  """Prints which tensors differ, and returns how many do."""
  with open_weights(a) as one, open_weights(b) as other:
    differences = compare(one, other)
    num_tensors = sum(
      len(hf_weights.tensor_names(leaf)) for leaf in one.leaves.values()
    )
  for name, words in sorted(differences.items()):
    print(f"{name}  {words}")
  verdict = f"differ in {len(differences)}" if differences else "agree in all"
  print(
    f"A ({one.dtype.name}, {a}) and B ({other.dtype.name}, {b}) {verdict}"
    f" of {num_tensors} tensors"
  )
  return len(differences)


def main(argv: Sequence[str]) -> int:
  # Weights pass through host memory only.
  jax.config.update("jax_platforms", "cpu")
  dtype = _DTYPE.value or ""
  match argv[1:]:
    case ["from-hf", src, dst]:
      from_hf(pathlib.Path(src), pathlib.Path(dst), dtype=dtype)
    case ["to-hf", src, dst]:
      to_hf(
        pathlib.Path(src),
        pathlib.Path(dst),
        shard_gib=_SHARD_GIB.value,
        dtype=dtype,
      )
    case ["verify", a, b]:
      return min(verify(pathlib.Path(a), pathlib.Path(b)), 1)
    case _:
      raise UsageError(
        f"unexpected arguments {list(argv[1:])}: say from-hf SRC DST, to-hf"
        " SRC DST, or verify A B"
      )
  logging.info("wrote %s", argv[3])
  return 0


def _copy(
  source: Weights,
  write: Callable[[str, Region, np.ndarray], Any],
  *,
  dtype: np.dtype,
  chunks: Mapping[str, tuple[int, ...]],
) -> None:
  """Moves all values, piece by piece, several at a time."""
  itemsize = max(dtype.itemsize, source.dtype.itemsize)
  pieces = [
    (
      (name, region),
      itemsize * math.prod(part.stop - part.start for part in region),
    )
    for name, leaf in source.leaves.items()
    for region in hf_weights.cells(leaf, chunks[name], itemsize, _PIECE_BYTES)
  ]

  def move(piece: tuple[str, Region]) -> None:
    name, region = piece
    values = source.read(name, region).astype(dtype, copy=False)
    write(name, region, values)

  for _ in stream(move, pieces, title="converted", max_bytes=_MAX_BYTES):
    pass


def _write_config(
  directory: pathlib.Path, raw: dict[str, Any], dtype: np.dtype
) -> None:
  """Writes config.json, if the one that was copied says another dtype."""
  told = set_dtype(raw, dtype)
  if told != raw:
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (directory / "config.json").write_text(text + "\n")


def _copy_companions(src: pathlib.Path, dst: pathlib.Path) -> None:
  dst.mkdir(exist_ok=True)
  for pattern in _COMPANIONS:
    for path in src.glob(pattern):
      shutil.copyfile(path, dst / path.name)


@contextlib.contextmanager
def _appearing(dst: pathlib.Path) -> Iterator[pathlib.Path]:
  """A directory to fill, which takes the name dst when all went well."""
  dst = dst.absolute()
  if dst.exists() and not (dst.is_dir() and not any(dst.iterdir())):
    raise UsageError(f"{dst} exists and is not empty: choose another DST")
  partial = dst.with_name(f".{dst.name}.partial")
  try:
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial, dst):
      yield partial
      _sync(partial)
      partial.rename(dst)
  except (OSError, ValueError) as error:
    # TensorStore reports the errors of the system as ValueError.
    if isinstance(error, ValueError) and "os_error_code" not in str(error):
      raise
    raise UsageError(f"cannot write {dst}: {error}") from error


@contextlib.contextmanager
def _locked(partial: pathlib.Path, dst: pathlib.Path) -> Iterator[None]:
  """The directory is ours alone and empty, and gone after a failure."""
  file = os.open(partial, os.O_RDONLY)
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UsageError(f"another conversion is writing {dst}") from error
    try:
      # A conversion that was killed may have left something.
      for path in partial.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
      yield
    except BaseException:
      shutil.rmtree(partial, ignore_errors=True)
      raise
  finally:
    os.close(file)


def _sync(directory: pathlib.Path) -> None:
  """Returns when the directory would outlast a loss of power."""
  for path in (*directory.rglob("*"), directory):
    file = os.open(path, os.O_RDONLY)
    try:
      os.fsync(file)
    finally:
      os.close(file)


if __name__ == "__main__":
  cli.run(main)
