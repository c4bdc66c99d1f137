"""Hugging Face checkpoints to this project's and back, of any size.

  python -m kimina_jax.convert from-hf SRC DST [--dtype=bfloat16]
  python -m kimina_jax.convert to-hf SRC DST [--dtype=…] [--shard_gib=5]
  python -m kimina_jax.convert verify A B

`from-hf` reads a directory with config.json, safetensors and tokenizer files
and writes `DST/params` (Orbax) and `DST/model/` (config and tokenizer). `to-hf`
reads such a directory, or the newest checkpoint of a run. Values are kept bit
for bit unless another dtype is asked for. `verify` compares two directories of
any kind: it prints the tensors and the keys of config.json that differ, and
ends with exit code 1 if there are any. dtypes may differ.

DST appears complete or not at all; an existing one is never overwritten; after
an interruption run the same command again.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "convert",
      main="kimina_jax.convert.__main__:main",
      summary="Converts checkpoints from and to Hugging Face's format.",
      example=(
        "kimina convert from-hf SRC DST --dtype=bfloat16\n"
        "kimina convert to-hf SRC DST --shard_gib=5\n"
        "kimina convert verify A B"
      ),
      arguments="from-hf SRC DST | to-hf SRC DST | verify A B",
      flags=(
        cli.Flag(
          "dtype",
          None,
          "from-hf, to-hf: dtype to convert to.",
          choices=("float32", "bfloat16"),
        ),
        cli.Flag(
          "shard_gib",
          5.0,
          "to-hf: size of a safetensors file in GiB.",
          minimum=1e-6,
        ),
      ),
      when_interrupted="nothing is written; the same command starts again",
    )
  )

import argparse

import jax
from absl import logging

from kimina_jax.convert.conversion import from_hf, to_hf
from kimina_jax.convert.verify import verify
from kimina_jax.infra import interruption
from kimina_jax.infra.arrays import local_path
from kimina_jax.types import UsageError


def main(options: argparse.Namespace) -> int:
  """Runs the subcommand; 1 if `verify` finds a difference, else 0.

  Raises:
    Interrupted: by a signal, which `stream` notices; DST is absent then.
  """
  interruption.defer()
  try:
    return _run(options)
  except interruption.Interrupted as reason:
    raise interruption.Interrupted(
      f"{reason}; nothing is written; the same command starts again",
      is_resumable=False,
    ) from None


def _run(options: argparse.Namespace) -> int:
  # Weights pass through host memory only.
  jax.config.update("jax_platforms", "cpu")
  dtype = options.dtype or ""
  match options.arguments:
    case ["from-hf", src, dst]:
      from_hf(local_path(src), local_path(dst), dtype=dtype)
    case ["to-hf", src, dst]:
      to_hf(
        local_path(src),
        local_path(dst),
        shard_gib=options.shard_gib,
        dtype=dtype,
      )
    case ["verify", a, b]:
      return 0 if verify(local_path(a), local_path(b)) == 0 else 1
    case _:
      raise UsageError(
        f"unexpected arguments {options.arguments}: say from-hf SRC DST, to-hf"
        " SRC DST, or verify A B"
      )
  logging.info("wrote %s", options.arguments[2])
  return 0
