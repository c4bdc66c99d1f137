"""Writes the report of a run as a web page: kimina report RUN_DIR"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "report",
      main="kimina_jax.report.__main__:main",
      summary="Writes the report of a run, RUN_DIR/report.html, and its path.",
      example="kimina report runs/demo/rl",
      arguments="RUN_DIR",
      needs_jax=False,
    )
  )

import argparse

from kimina_jax.report.page import write_report
from kimina_jax.types import UsageError


def main(options: argparse.Namespace) -> None:
  """Writes the report of the run named on the command line."""
  if len(options.arguments) != 1:
    raise UsageError(
      f"{len(options.arguments)} directories given: name one run, as in kimina"
      " report RUN_DIR"
    )
  print(write_report(options.arguments[0]))
