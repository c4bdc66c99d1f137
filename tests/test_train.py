"""Problems of an iteration, and conditions that stop a run."""

import dataclasses
import types

import numpy as np
import pytest

from kimina_jax import train
from kimina_jax.configs import debug
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.problems import arithmetic
from kimina_jax.problems.curriculum import Curriculum
from kimina_jax.types import (
  CheckerFooled,
  Problem,
  Prompt,
  Rollout,
  Sample,
  Status,
  Verdict,
)


class Kept:
  """Keeps what a run writes."""

  def __init__(self):
    self.rows = []

  def write(self, step, rows) -> None:
    self.rows.append((step, rows))


def make_run(tmp_path, **changes):
  """As much of a Run as the choice of problems and the check need."""
  config = debug.get_config()
  config.train.update(changes)
  experiment = Experiment.from_config(config)
  problems = arithmetic.generate("train", 64, seed=0)
  return types.SimpleNamespace(
    setup=types.SimpleNamespace(experiment=experiment),
    run_dir=tmp_path,
    curriculum=Curriculum(problems, experiment.curriculum, seed=0),
    rollout_writer=Kept(),
    metric_writer=Kept(),
  )


def sample(problem: Problem, status: Status) -> Sample:
  tokens, logps = np.zeros(1, np.int32), np.zeros(1, np.float32)
  rollout = Rollout(
    Prompt(problem, "", tokens), 7, tokens, logps, logps, "", "stop"
  )
  return Sample(rollout, Verdict(status), reward=0.0)


def test_canaries_take_the_place_of_problems(tmp_path):
  run = make_run(tmp_path, canary_share=0.25)
  for step in range(20):
    chosen = train.choose_problems(run, step, 16)
    false = [problem for problem in chosen if problem.is_canary]
    assert (len(chosen), len(false)) == (16, 4)
    assert {problem.header for problem in chosen} == {arithmetic.HEADER}
    assert chosen == train.choose_problems(run, step, 16)
  assert train.choose_problems(run, 0, 0) == []
  quiet = make_run(tmp_path, canary_share=0.0)
  assert quiet.curriculum.draw(3, 16) == train.choose_problems(quiet, 3, 16)


def test_a_proved_canary_stops_the_run_before_it_learns(tmp_path):
  run = make_run(tmp_path, canary_share=1.0)
  canary = train.choose_problems(run, 0, 4)[0]
  real = dataclasses.replace(canary, name="t", source="")
  samples = [sample(real, Status.PROVED), sample(canary, Status.LEAN_ERROR)]
  train._check_canaries(run, samples, 5)
  assert not run.rollout_writer.rows
  samples.append(sample(canary, Status.PROVED))
  with pytest.raises(CheckerFooled, match="rollout 7 of iteration 5") as caught:
    train._check_canaries(run, samples, 5)
  assert canary.statement in str(caught.value)
  assert run.rollout_writer.rows == [(5, samples)]
  ((_, metrics),) = run.metric_writer.rows
  assert (metrics["canary/tried"], metrics["canary/proved"]) == (2, 1)


def test_an_iteration_without_a_signal_is_warned_of(caplog):
  problem = arithmetic.generate("train", 1, seed=0)[0]
  dull = [sample(problem, Status.LEAN_ERROR)] * 2
  train._warn_without_signal(dull, 4)
  assert "iteration 4: no gradient signal" in caplog.text
  caplog.clear()
  train._warn_without_signal(
    [dataclasses.replace(dull[0], advantage=0.5), *dull], 4
  )
  train._warn_without_signal([], 4)
  assert not caplog.text
