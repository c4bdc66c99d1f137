"""Proves one theorem with a trained policy, and shows how.

  python -m kimina_jax.prove --checkpoint=RUN \
      'theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by'
  python -m kimina_jax.prove --checkpoint=RUN theorem.lean

In: a run or a model directory, and a theorem as text, in a file, or on stdin
(`-`). The text before the theorem in a file is its header. Out: the response as
it is sampled, the verdict on each attempt, and the proof; exit code 0 if it was
proved, 2 if no attempt was. Only --output is written.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "prove",
      main="kimina_jax.prove.__main__:main",
      summary="Proves one theorem with a trained policy, and shows how.",
      example=(
        "kimina prove --checkpoint=runs/demo/rl \\\n"
        "  'theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by'"
      ),
      arguments="THEOREM, FILE or -",
      flags=(
        cli.CHECKPOINT,
        cli.Flag("attempts", 8, "The most proofs to try.", minimum=1),
        cli.Flag("seed", None, "As --config.seed.", kind=int, minimum=0),
        cli.Flag(
          "temperature",
          None,
          "As --config.rollouts.temperature.",
          kind=float,
          minimum=0,
        ),
        cli.Flag(
          "header",
          None,
          "Lean text before the theorem; import Mathlib by default, unless the"
          " theorem's file has imports.",
        ),
        cli.Flag(
          "informal", "", "The problem in words; its docstring by default."
        ),
        cli.Flag("output", "", "File to write the proof to."),
        cli.Flag("quiet", False, "Show only the verdict and the proof."),
        cli.Flag("json", False, "Print one JSON object instead."),
      ),
      config="common",
    )
  )

import argparse
from typing import Any

from absl import logging

from kimina_jax.prove.run import check_output, configure, run_prove
from kimina_jax.prove.statement import parse_theorem, read_source
from kimina_jax.types import UsageError


def main(options: argparse.Namespace) -> int:
  """Proves the theorem of the command line; 0 if it is proved, else 2."""
  # Log lines would interrupt the text of the response.
  logging.set_verbosity(logging.WARNING)
  if len(options.arguments) != 1:
    raise UsageError(
      f"{len(options.arguments)} theorems given: name one, in quotes, or a"
      " file, or -"
    )
  problem = parse_theorem(
    read_source(options.arguments[0]),
    header=options.header,
    informal=options.informal,
  )
  check_output(options.output)
  configure(
    options.config,
    options.checkpoint,
    is_named=bool(options.config_name),
    overrides=_overrides(options),
  )
  return run_prove(
    options.config,
    problem,
    num_attempts=options.attempts,
    output=options.output,
    as_json=options.json,
    quiet=options.quiet,
  )


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
  """The keys of the experiment that the command line sets."""
  overrides = dict(options.overrides)
  if options.seed is not None:
    overrides["seed"] = options.seed
  if options.temperature is not None:
    overrides["rollouts.temperature"] = options.temperature
  return overrides
