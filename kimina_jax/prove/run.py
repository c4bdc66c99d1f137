"""Proof of one theorem by a trained policy: attempts until one is accepted.

In: an experiment, the weights of a run or a model directory, and a Problem.
Out: the last attempt: the accepted proof, or the last verdict.
While it runs, the response is shown as it is sampled. Nothing is reported as
proved that the checker did not accept.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from kimina_jax.infra import interruption
from kimina_jax.infra.checkpoint import find_weights
from kimina_jax.model.config import SIZES
from kimina_jax.pipeline.collector import ExperienceCollector
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.resume_policy import upgrade_config
from kimina_jax.pipeline.setup import Setup, first_params, prompt_limit
from kimina_jax.pipeline.validate import validate
from kimina_jax.prove.statement import empty_proof
from kimina_jax.prove.view import (
  ProofAttempt,
  ProveView,
  StreamingDetokenizer,
  print_verdict,
  to_record,
)
from kimina_jax.rollouts.resharding import make_reshard
from kimina_jax.types import Problem, Status, UsageError
from kimina_jax.verification.acceptance.theorems import UNNAMED_EXAMPLE
from kimina_jax.verification.extract import extract
from kimina_jax.verification.messages import highlight_lean
from kimina_jax.verification.pool import wait_for_verdict

_STEPS_PER_DISPATCH = 8  # few, so that the text appears steadily
# Sections that are taken from a run's experiment, without the keys that were
# chosen for many rollouts or for other devices.
_KEYS_NOT_TAKEN = {
  "model": ("remat", "attention"),
  "rollouts": ("num_slots", "steps_per_dispatch", "cache_tokens"),
  "checker": ("num_workers", "num_standby", "max_uses"),
}


def run_prove(
  config: ConfigDict,
  problem: Problem,
  *,
  num_attempts: int,
  output: str = "",
  as_json: bool = False,
  quiet: bool = False,
) -> int:
  """Proves a theorem and prints the outcome; returns the exit code.

  Args:
    config: as `configure` leaves it.
    problem: what to prove.
    num_attempts: at most, at least 1.
    output: file for the proof; "" writes none.
    as_json: print one JSON object only.
    quiet: print the verdict and the proof only.

  Returns:
    0 if it is proved, else 2.
  """
  started_s = time.monotonic()
  checker = config.checker.backend
  console = Console(highlight=False, quiet=quiet or as_json)
  with ProveView(console, checker=checker) as view:
    if problem.name == UNNAMED_EXAMPLE:
      view.print_note(
        f"an example has no name: it is called {UNNAMED_EXAMPLE} here"
      )
    attempt = prove_theorem(
      config, problem, num_attempts=num_attempts, view=view
    )
  if as_json:
    seconds = time.monotonic() - started_s
    record = to_record(problem, attempt, checker=checker, seconds=seconds)
    print(json.dumps(record))
  else:
    console = Console(highlight=False)
    if quiet:
      print_verdict(console, attempt, checker=checker)
    if attempt.verdict.proved:
      console.print(highlight_lean(attempt.final), soft_wrap=True)
  if not attempt.verdict.proved:
    return 2
  _write_proof(output, attempt.final)
  return 0


def prove_theorem(
  config: ConfigDict, problem: Problem, *, num_attempts: int, view: ProveView
) -> ProofAttempt:
  """Samples and checks proofs until one is accepted; returns the last attempt.

  Attempt i does not depend on how many are allowed.

  Args:
    config: as `configure` leaves it.
    problem: what to prove.
    num_attempts: at most, at least 1; at temperature 0 one is made, as all
      would be equal.
    view: shows progress.

  Raises:
    UsageError: the statement does not elaborate, or there is no checker.
    Interrupted: SIGTERM or SIGINT arrived.
  """
  if config.rollouts.temperature == 0:
    num_attempts = 1
  setup = _set_up(Experiment.from_config(config), problem)
  with ExperienceCollector(setup) as collector:
    # The header is imported while the weights are loaded.
    elaborated = collector.pool.submit(problem, empty_proof(problem))
    view.show_status("loading the weights")
    mesh, replicas = setup.mesh, collector.engine.replicas
    params = make_reshard(setup.model, mesh, replicas)(first_params(setup))
    interruption.defer()
    view.show_status("loading the header")
    num_made = 0
    try:
      verdict = wait_for_verdict(elaborated, interruption.check)
      if verdict.status is Status.INFRA_ERROR:
        raise UsageError(f"the checker cannot judge this: {verdict.detail}")
      while True:
        view.begin_attempt(num_made + 1, num_attempts)
        attempt = _attempt(
          setup, collector, params, problem, num_made + 1, view
        )
        num_made += 1
        view.end_attempt(attempt)
        if attempt.verdict.proved or num_made == num_attempts:
          return attempt
    except interruption.Interrupted as reason:
      raise interruption.Interrupted(
        f"{reason}; {num_made} attempts were made without a proof, and nothing"
        " is kept. The same command makes the same attempts again;"
        f" --seed={setup.experiment.seed + 1} makes others"
      ) from reason


def configure(
  config: ConfigDict,
  checkpoint: str,
  *,
  is_named: bool,
  overrides: Mapping[str, Any],
) -> None:
  """Changes an experiment, in place, to that of one proof with these weights.

  Args:
    config: the experiment.
    checkpoint: a run or a model directory.
    is_named: whether the user named the experiment; the default one takes the
      sections that matter from the checkpoint's run.
    overrides: values by dotted key, which take precedence over the run's.

  Raises:
    UsageError: there are no weights, or it is unknown of which model they are.
  """
  if not checkpoint:
    raise UsageError("--checkpoint is missing; name a run or model directory")
  weights = find_weights(checkpoint)
  is_run = weights.parent.name == "checkpoints"
  home = weights.parent.parent if is_run else weights
  config.tokenizer = str(home / "model")
  if is_run and not is_named:
    _take_run_settings(config, home / "config.json")
  elif not is_named and "model.name" not in overrides:
    raise UsageError(
      f"{checkpoint} is not a run directory, so the model is unknown: name an"
      " experiment with --config, or set --config.model.name=qwen2.5-1.5b or"
      " another"
    )
  elif not is_named:
    _fill_context(config, overrides["model.name"])
  config.update_from_flattened_dict(overrides)
  config.init_from = str(weights)
  # One proof at a time is checked, by one worker with the header imported.
  config.checker.num_workers = 1
  config.checker.num_standby = 0
  config.rollouts.steps_per_dispatch = _STEPS_PER_DISPATCH


def _fill_context(config: ConfigDict, name: str) -> None:
  """Lets prompt and response fill the positions of the named model."""
  if name in SIZES:
    num_positions = SIZES[name]["max_position"]
    max_prompt_len = num_positions // 16
    config.rollouts.max_prompt_len = max_prompt_len
    config.rollouts.max_response_len = num_positions - max_prompt_len


def _take_run_settings(config: ConfigDict, path: pathlib.Path) -> None:
  """Sets the sections that matter for a proof to those of a run."""
  try:
    saved = upgrade_config(json.loads(path.read_text("utf-8")))
    for key, value in saved.items():
      section, _, name = key.rpartition(".")
      if section in _KEYS_NOT_TAKEN and name not in _KEYS_NOT_TAKEN[section]:
        config[section].update({name: value})
    config.seed = saved["seed"]
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UsageError(
      f"{path} is not the experiment of a run of this version ({error!r}): name"
      " it with --config"
    ) from error


def _set_up(experiment: Experiment, problem: Problem) -> Setup:
  """The validated experiment with one decode slot per replica.

  Raises:
    UsageError: something does not fit, or the prompt is too long.
  """
  settings = experiment.rollouts
  num_slots = max(1, jax.device_count() // settings.tensor)
  rollouts = dataclasses.replace(settings, num_slots=num_slots)
  experiment = dataclasses.replace(experiment, rollouts=rollouts)
  setup = validate(experiment, program="prove")
  limit = prompt_limit(experiment, setup.tokenizer)
  num_tokens = limit.length(problem)
  if num_tokens > limit.max_len:
    raise UsageError(
      f"the prompt has {num_tokens} tokens, more than max_prompt_len ="
      f" {limit.max_len}; raise --config.rollouts.max_prompt_len"
    )
  return setup


def _attempt(
  setup: Setup,
  collector: ExperienceCollector,
  params: dict[str, Any],
  problem: Problem,
  number: int,
  view: ProveView,
) -> ProofAttempt:
  """Samples one response, printing it meanwhile, and checks it."""
  tokenizer = setup.tokenizer
  detokenizer = StreamingDetokenizer(tokenizer.decode)

  def show_tokens(index: int, tokens: np.ndarray) -> None:
    del index  # there is one rollout
    text = tokens[tokens != tokenizer.stop_id]
    view.print_response(detokenizer.add(text))

  def progress(phase: str, *, done: int, total: int) -> None:
    del done, total
    if phase == "sampling":  # and it has ended
      view.print_response(detokenizer.finish())
      view.show_status("checking")

  (sample,), _ = collector.collect(
    params,
    [problem],
    num_per_problem=1,
    seed=setup.experiment.seed,
    iteration=number,
    progress=progress,
    on_tokens=show_tokens,
  )
  final = extract(sample.rollout.text).final
  return ProofAttempt(number, sample.rollout, final, sample.verdict)


def check_output(path: str) -> None:
  """Raises UsageError if the file cannot be written, before any sampling."""
  place = pathlib.Path(path)
  if path and (place.is_dir() or not place.absolute().parent.is_dir()):
    raise UsageError(
      f"--output={path} cannot be written: name a file in a directory that"
      " exists"
    )


def _write_proof(path: str, proof: str) -> None:
  try:
    if path:
      pathlib.Path(path).write_text(f"{proof}\n", "utf-8")
  except OSError as error:
    raise UsageError(f"cannot write --output={path}: {error}") from error
