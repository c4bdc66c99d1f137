"""One theorem from the command line: watch it being proved.

  python -m kimina_jax.prove --checkpoint=RUN \
      'theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by'
  python -m kimina_jax.prove --checkpoint=RUN theorem.lean

Comes in: a run or a model directory, and a theorem as text, in a file, or on
stdin (`-`). What precedes the theorem in a file is its header. Goes out: the
reasoning as it is written, a verdict on each attempt, the proof; and exit code
0 if it was proved, 2 if no attempt succeeded. It writes nothing but --output,
and shows nothing as proved that the checker did not accept.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "prove",
      main="kimina_jax.prove.__main__:main",
      summary="Proves one theorem, and shows the reasoning as it is written.",
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
import concurrent.futures
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from rich.console import Console

from kimina_jax.infra import interruption
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.setup import Setup, first_params
from kimina_jax.pipeline.validate import validate
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prove.statement import UNNAMED, parse, read, without_proof
from kimina_jax.prove.view import (
  Attempt,
  Growth,
  View,
  record,
  show_verdict,
)
from kimina_jax.rollouts.engine import Engine
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.types import (
  Problem,
  Rollout,
  Status,
  UsageError,
  Verdict,
)
from kimina_jax.verification.extract import extract
from kimina_jax.verification.messages import highlight_lean
from kimina_jax.verification.pool import VerdictFuture, VerificationPool

_STEPS_PER_DISPATCH = 8  # few, so that the text flows
_POLL_S = 0.1  # between two looks for Ctrl-C
# What a proof goes by, of a run's experiment: these sections, but for what was
# chosen for its many rollouts or for its machines.
_LEFT_OUT = {
  "model": ("remat", "attention"),
  "rollouts": ("num_slots", "steps_per_dispatch", "cache_tokens"),
  "checker": ("num_workers", "num_standby", "max_uses"),
}


def main(options: argparse.Namespace) -> int:
  """Attempts what the command line names; 0 if it is proved, else 2."""
  started_s = time.monotonic()
  config = options.config
  # Logs would run into the text that is being written.
  logging.set_verbosity(logging.WARNING)
  if len(options.arguments) != 1:
    raise UsageError(
      f"{len(options.arguments)} theorems given: name one, in quotes, or a"
      " file, or -"
    )
  problem = parse(
    read(options.arguments[0]), header=options.header, informal=options.informal
  )
  _check_output(options.output)
  configure(
    config,
    options.checkpoint,
    is_named=bool(options.config_name),
    overrides=_overrides(options),
  )
  checker = config.checker.backend
  is_silent = options.quiet or options.json
  with View(_console(quiet=is_silent), checker=checker) as view:
    if problem.name == UNNAMED:
      view.note(f"an example has no name: it is called {UNNAMED} here")
    attempt = prove(config, problem, num_attempts=options.attempts, view=view)
  if options.json:
    seconds = time.monotonic() - started_s
    row = record(problem, attempt, checker=checker, seconds=seconds)
    print(json.dumps(row))
  else:
    _show_end(attempt, is_silent, checker=checker)
  if not attempt.verdict.proved:
    return 2
  _write(options.output, attempt.final)
  return 0


def prove(
  config: ConfigDict, problem: Problem, *, num_attempts: int, view: View
) -> Attempt:
  """Samples and checks proofs until one is accepted; returns the last.

  Attempt i is the same one however many are allowed.

  Args:
    config: as `configure` leaves it.
    problem: what to prove.
    num_attempts: allowed, at least 1; temperature 0 makes one of them.
    view: shows what is going on.

  Raises:
    UsageError: the statement does not elaborate, or there is no checker.
    Interrupted: SIGTERM or SIGINT arrived.
  """
  if config.rollouts.temperature == 0:
    num_attempts = 1  # The others would be the same.
  experiment = Experiment.from_config(config)
  with VerificationPool(experiment.checker) as pool:
    # Looked at once the weights are here: a header takes as long as they do.
    statement = pool.submit(problem, without_proof(problem))
    view.wait("loading the weights")
    write = _writer(_one_slot_each(experiment), problem, view)
    interruption.defer()
    view.wait("loading the header")
    _judged(statement)
    for number in range(1, num_attempts + 1):
      view.begin(number, num_attempts)
      rollout = write(number)
      view.wait("checking")
      extraction = extract(rollout.text)
      verdict = _judged(pool.submit(problem, extraction))
      attempt = Attempt(number, rollout, extraction.final, verdict)
      view.end(attempt)
      if verdict.proved:
        break
  return attempt


def configure(
  config: ConfigDict,
  checkpoint: str,
  *,
  is_named: bool,
  overrides: Mapping[str, Any],
) -> None:
  """Makes an experiment that of one proof with these weights, in place.

  Args:
    config: the experiment.
    checkpoint: a run or a model directory.
    is_named: whether the experiment was asked for; the default one is completed
      from that of the checkpoint's run.
    overrides: values by dotted key, which count more than the run's.

  Raises:
    UsageError: there are no weights, or nothing says of which model they are.
  """
  if not checkpoint:
    raise UsageError("--checkpoint is missing; name a run or model directory")
  weights = find_weights(checkpoint)
  is_run = weights.parent.name == "checkpoints"
  home = weights.parent.parent if is_run else weights
  config.tokenizer = str(home / "model")
  if is_run and not is_named:
    _take_over(config, home / "config.json")
  elif not is_named and "model.name" not in overrides:
    raise UsageError(
      f"{checkpoint} is no run that says which model it is: name an experiment"
      " with --config, or say --config.model.name=qwen2.5-1.5b or another"
    )
  config.update_from_flattened_dict(overrides)
  config.init_from = str(weights)
  # One proof at a time, by one process that has the header loaded.
  config.checker.num_workers = 1
  config.checker.num_standby = 0
  config.rollouts.steps_per_dispatch = _STEPS_PER_DISPATCH


def _take_over(config: ConfigDict, path: pathlib.Path) -> None:
  """Sets what a proof goes by as a run has it."""
  try:
    told = json.loads(path.read_text("utf-8"))
    for section, left_out in _LEFT_OUT.items():
      kept = told[section].keys() - set(left_out)
      config[section].update({key: told[section][key] for key in kept})
    config.seed = told["seed"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UsageError(
      f"{path} is not the experiment of a run of this version ({error!r}): name"
      " it with --config"
    ) from error


def _one_slot_each(experiment: Experiment) -> Setup:
  """The validated experiment with one decode slot in each replica."""
  settings = experiment.rollouts
  num_slots = max(1, jax.device_count() // settings.tensor)
  rollouts = dataclasses.replace(settings, num_slots=num_slots)
  experiment = dataclasses.replace(experiment, rollouts=rollouts)
  return validate(experiment, program="prove")


def _writer(
  setup: Setup, problem: Problem, view: View
) -> Callable[[int], Rollout]:
  """Loads the policy; what it returns writes the response of an attempt."""
  tokenizer, experiment = setup.tokenizer, setup.experiment
  prompt = make_prompt(problem, tokenizer)
  limit = experiment.rollouts.max_prompt_len
  if len(prompt.tokens) > limit:
    raise UsageError(
      f"the prompt has {len(prompt.tokens)} tokens, more than max_prompt_len ="
      f" {limit}; raise --config.rollouts.max_prompt_len"
    )
  engine = Engine(setup.model, tokenizer, setup.mesh, experiment.rollouts)
  reshard = make_reshard(setup.model, setup.mesh, engine.replicas)
  params = reshard(first_params(setup))

  def write(number: int) -> Rollout:
    growth = Growth(tokenizer.decode)

    def watch(row: int, tokens: np.ndarray) -> None:
      del row  # there is one
      view.say(growth.add(tokens[tokens != tokenizer.stop_id]))

    (rollout,) = engine.generate(
      params,
      [prompt],
      num_per_prompt=1,
      seed=experiment.seed,
      iteration=number,
      poll=interruption.check,
      watch=watch,
    )
    view.say(growth.finish())
    return rollout

  return write


def _judged(future: VerdictFuture) -> Verdict:
  """The verdict to come; that there can be none is not the policy's fault."""
  while not future.done():
    interruption.check()
    concurrent.futures.wait([future], timeout=_POLL_S)
  verdict = future.result()
  if verdict.status is Status.INFRA_ERROR:
    raise UsageError(f"the checker cannot judge this: {verdict.detail}")
  return verdict


def _show_end(attempt: Attempt, with_verdict: bool, *, checker: str) -> None:
  console = _console()
  if with_verdict:
    show_verdict(console, attempt, checker=checker)
  if attempt.verdict.proved:
    console.print(highlight_lean(attempt.final), soft_wrap=True)


def _console(*, quiet: bool = False) -> Console:
  return Console(highlight=False, quiet=quiet)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
  """What the command line asks for, by key of the experiment."""
  overrides = dict(options.overrides)
  if options.seed is not None:
    overrides["seed"] = options.seed
  if options.temperature is not None:
    overrides["rollouts.temperature"] = options.temperature
  return overrides


def _check_output(path: str) -> None:
  """Before hours of work, not after."""
  place = pathlib.Path(path)
  if path and (place.is_dir() or not place.absolute().parent.is_dir()):
    raise UsageError(
      f"--output={path} cannot be written: name a file in a directory that"
      " exists"
    )


def _write(path: str, proof: str) -> None:
  try:
    if path:
      pathlib.Path(path).write_text(f"{proof}\n", "utf-8")
  except OSError as error:
    raise UsageError(f"cannot write --output={path}: {error}") from error
