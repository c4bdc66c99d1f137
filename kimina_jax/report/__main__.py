"""Writes the report of a run: python -m kimina_jax.report RUN_DIR"""

from collections.abc import Sequence

from kimina_jax.infra import cli
from kimina_jax.report.page import write_report
from kimina_jax.types import UsageError


def main(argv: Sequence[str]) -> None:
  """Writes the report of the run named on the command line."""
  if len(argv) != 2:
    raise UsageError("name one run: python -m kimina_jax.report RUN_DIR")
  print(write_report(argv[1]))


if __name__ == "__main__":
  cli.run(main)
