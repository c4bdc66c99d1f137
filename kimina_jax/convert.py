"""Hugging Face checkpoints to this project's and back.

  python -m kimina_jax.convert from-hf SRC DST
  python -m kimina_jax.convert to-hf SRC DST [--shard_gib=5]

`from-hf` reads a directory with config.json, safetensors and tokenizer files
and writes `DST/params` (Orbax) and `DST/model/` (the rest). `to-hf` reads such
a directory, or a run and its newest checkpoint. Values are kept bit for bit.
DST appears complete or not at all; what exists is never overwritten.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
import safetensors
from absl import flags, logging

from kimina_jax.infra import cli
from kimina_jax.infra.checkpoint import restore_params
from kimina_jax.model import hf
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.config import from_hf as parse_config
from kimina_jax.model.params import abstract_params
from kimina_jax.types import UsageError

_SHARD_GIB = flags.DEFINE_float(
  "shard_gib", 5.0, "to-hf: size of a safetensors file.", lower_bound=1e-6
)

# What travels beside the weights.
_COMPANIONS = (
  *("config.json", "generation_config.json", "tokenizer*", "vocab.json"),
  *("merges.txt", "special_tokens_map.json", "added_tokens.json"),
  *("chat_template*", "*.model"),
)


def from_hf(src: pathlib.Path, dst: pathlib.Path) -> None:
  """Hugging Face directory → `dst/params` and `dst/model/`.

  Raises:
    UsageError: src is no complete Qwen2 checkpoint, or dst is not empty.
  """
  config, hf_config = _read_config(src)
  with _appearing(dst) as partial:
    params = hf.load_params(src, config)
    _copy_companions(src, partial / "model")
    _write_config(partial / "model", hf_config, params)
    with ocp.StandardCheckpointer() as checkpointer:
      checkpointer.save(partial / "params", params)


def to_hf(src: pathlib.Path, dst: pathlib.Path, *, shard_gib: float) -> None:
  """Model or run directory → Hugging Face directory.

  Args:
    src: with `model/`, and `params` or `checkpoints/`.
    dst: absent or empty.
    shard_gib: at most about this much in one safetensors file.

  Raises:
    UsageError: src holds no weights or others than its config.json says, or
      dst is not empty.
  """
  config, _ = _read_config(src / "model")
  with _appearing(dst) as partial:
    cpu = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    wanted = jax.tree.map(
      lambda leaf: leaf.update(sharding=cpu), abstract_params(config)
    )
    params = restore_params(src, wanted)
    _copy_companions(src / "model", partial)
    hf.save_params(params, config, partial, shard_bytes=int(shard_gib * 2**30))


def main(argv: Sequence[str]) -> None:
  # Weights pass through host memory only.
  jax.config.update("jax_platforms", "cpu")
  match argv[1:]:
    case ["from-hf", src, dst]:
      from_hf(pathlib.Path(src), pathlib.Path(dst))
    case ["to-hf", src, dst]:
      to_hf(pathlib.Path(src), pathlib.Path(dst), shard_gib=_SHARD_GIB.value)
    case _:
      raise UsageError(
        f"unexpected arguments {list(argv[1:])}: say from-hf SRC DST, or to-hf"
        " SRC DST"
      )
  logging.info("wrote %s", argv[3])


def _read_config(directory: pathlib.Path) -> tuple[ModelConfig, dict[str, Any]]:
  """config.json, parsed and raw; its dtype is that of the weights."""
  path = directory / "config.json"
  if not path.is_file():
    raise UsageError(f"no {path}: a model's directory holds its config.json")
  try:
    raw = json.loads(path.read_text())
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({error}): copy it again") from error
  config = parse_config(
    raw,
    name=directory.resolve().name,
    param_dtype=_dtype_key_value(raw)[1] or "bfloat16",
    compute_dtype="bfloat16",
    remat="none",
  )
  return config, raw


def _write_config(
  directory: pathlib.Path, raw: dict[str, Any], params: dict[str, Any]
) -> None:
  """Writes config.json, whose dtype must be true: readers trust it."""
  key, value = _dtype_key_value(raw)
  dtype = jax.tree.leaves(params)[0].dtype.name
  if value != dtype:
    text = json.dumps(raw | {key: dtype}, indent=2, ensure_ascii=False)
    (directory / "config.json").write_text(text + "\n")


def _dtype_key_value(raw: dict[str, Any]) -> tuple[str, str | None]:
  """transformers 4 says torch_dtype, transformers 5 dtype."""
  key = "dtype" if "dtype" in raw else "torch_dtype"
  return key, raw.get(key)


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
    # A conversion that was killed may have left one.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(dst)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    # TensorStore reports the errors of the system as ValueError.
    if isinstance(error, ValueError) and "os_error_code" not in str(error):
      raise
    raise UsageError(f"cannot write {dst}: {error}") from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
  cli.run(main)
