"""Checks Lean files: which of them are proofs.

  python -m kimina_jax.check proofs/ more.lean
  python -m kimina_jax.check --problems=minif2f.jsonl --jobs=16 proofs/
  python -m kimina_jax.check --doctor

In: Lean files (header, statement, proof), directories of them, or stdin (`-`),
and optionally the problems that they are to prove. Out: a verdict on each file,
with Lean's messages at their positions, as text or as JSON lines; exit code 0
if all are proved, 2 if not, 1 if nothing could be checked. After Ctrl-C or
SIGTERM the proofs that are being checked end first; the exit code is 130 or
143.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "check",
      main="kimina_jax.check.__main__:main",
      summary="Checks which Lean files are proofs, and shows Lean's messages.",
      example=(
        "kimina check proofs/ more.lean\n"
        "kimina check --problems=minif2f.jsonl --jobs=16 proofs/\n"
        "kimina check --doctor"
      ),
      arguments="FILES, DIRECTORIES or -",
      flags=(
        cli.Flag(
          "problems", "", "JSONL file of the statements that were to be proved."
        ),
        cli.Flag(
          "jobs", None, "As --config.checker.num_workers.", kind=int, minimum=1
        ),
        cli.Flag("json", False, "Print one JSON object for each file."),
        cli.Flag("quiet", False, "Show no file that is proved."),
        cli.Flag(
          "confirm", False, "Have the second verifier confirm every proof."
        ),
        cli.Flag(
          "doctor",
          False,
          "Examine the checker itself: what is installed, which attacks fail.",
        ),
      ),
      config="common",
      needs_jax=False,
    )
  )

import argparse

from absl import logging

from kimina_jax.check.doctor import run_doctor
from kimina_jax.check.run import run_check
from kimina_jax.types import UsageError
from kimina_jax.verification.settings import CheckerSettings


def main(options: argparse.Namespace) -> int:
  """Checks the files of the command line, or with --doctor the checker."""
  config, paths = options.config, options.arguments
  logging.set_verbosity(logging.WARNING)  # Only verdicts are printed.
  if options.jobs is not None:
    config.checker.num_workers = options.jobs
  settings = CheckerSettings(**config.checker)
  if not options.doctor:
    return run_check(
      paths,
      settings,
      problems_path=options.problems,
      confirm=options.confirm,
      as_json=options.json,
      quiet=options.quiet,
    )
  if paths:
    raise UsageError(f"--doctor takes no file, got {paths[0]!r}")
  return run_doctor(settings, as_json=options.json)
