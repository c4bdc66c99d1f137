"""The collector with a sampler and a checker made of lists."""

import concurrent.futures
import types

import numpy as np
import pytest

from kimina_jax.configs import debug
from kimina_jax.infra import distributed, interruption
from kimina_jax.infra.mesh import ProcessGroup
from kimina_jax.pipeline import collector
from kimina_jax.pipeline.collector import ExperienceCollector
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.problems import arithmetic
from kimina_jax.types import Prompt, Rollout, Status, UsageError, Verdict

PROBLEMS = arithmetic.generate("train", 3, seed=0)
LOST = Verdict(Status.INFRA_ERROR, detail="exit code 1; ")
REFUSED = Verdict(Status.LEAN_ERROR)


class ListStream:
  """The rollouts of a list."""

  def __init__(self, rollouts):
    self._rollouts = rollouts
    self.stats = {"tokens": 4.0, "slot_utilization": 0.5, "peak_pages": 3}

  def __iter__(self):
    return iter(self._rollouts)


class ListEngine:
  """A sampler that returns the given rollouts."""

  process_group = ProcessGroup(0, 1, 0, 1)

  def __init__(self):
    self.rollouts = []

  def share(self, items):
    return items

  def generate(self, params, prompts, **options):
    return ListStream(self.rollouts)


class ListPool:
  """A checker with the given verdicts; None is a future without a result."""

  backend = types.SimpleNamespace(name="list", toolchain="0")
  isolation = "none"

  def __init__(self):
    self.verdicts = []

  def submit(self, problem, extraction, *, confirm):
    future = concurrent.futures.Future()
    verdict = self.verdicts.pop(0)
    if verdict:
      future.set_result(verdict)
    return future

  def stats(self):
    return {}

  def close(self): ...


@pytest.fixture
def parts(monkeypatch):
  """The collector, and what its sampler and its checker will give."""
  engine, pool = ListEngine(), ListPool()
  monkeypatch.setattr(collector, "Engine", lambda *_: engine)
  monkeypatch.setattr(collector, "VerificationPool", lambda _: pool)
  setup = types.SimpleNamespace(
    experiment=Experiment.from_config(debug.get_config()),
    model=None,
    mesh=None,
    tokenizer=None,
    prompt=lambda problem: Prompt(problem, "", np.zeros(1, np.int32)),
  )
  return ExperienceCollector(setup), engine, pool


def rollout(index, stop="stop"):
  tokens, logps = np.zeros(2, np.int32), np.zeros(2, np.float32)
  prompt = Prompt(PROBLEMS[index], "", tokens)
  return Rollout(prompt, index, tokens, logps, logps, "", stop)


def collect(parts, rollouts, verdicts, **options):
  made, engine, pool = parts
  engine.rollouts, pool.verdicts = rollouts, list(verdicts)
  return made.collect(
    {},
    PROBLEMS[: len(rollouts)],
    num_per_problem=1,
    seed=0,
    iteration=0,
    progress=lambda *_, **__: None,
    **options,
  )


def test_samples_and_partial_groups(parts):
  rollouts = [rollout(1), rollout(0), rollout(2, stop="budget")]
  samples, partial = collect(parts, rollouts, [REFUSED, LOST], max_tokens=10)
  assert [s.rollout.index for s in samples] == [0, 1]
  assert [s.verdict for s in samples] == [LOST, REFUSED]
  assert [g.unfinished[0].index for g in partial] == [2]
  assert parts[0].stats["sampler/tokens"] == 4
  assert parts[0].stats["sampler/slot_utilization"] == 0.5


def test_nothing_to_collect(parts):
  assert collect(parts, [], []) == ([], [])
  assert "sampler/tokens" not in parts[0].stats


def test_a_checker_that_judges_nothing_ends_the_run(parts):
  with pytest.raises(UsageError, match=r"of 2 rollouts: exit code 1\. Run"):
    collect(parts, [rollout(0), rollout(1)], [LOST, LOST])
  collect(parts, [rollout(0), rollout(1)], [LOST, REFUSED])


def test_with_a_budget_one_lost_verdict_is_no_broken_checker(parts):
  """A small partial iteration may end with a single rollout."""
  for _ in range(2):
    for _ in range(7):
      collect(parts, [rollout(0)], [LOST], max_tokens=10)
    collect(parts, [rollout(0)], [REFUSED], max_tokens=10)
  for _ in range(7):
    collect(parts, [rollout(0)], [LOST], max_tokens=10)
  with pytest.raises(UsageError, match="any of 8 rollouts"):
    collect(parts, [rollout(0)], [LOST], max_tokens=10)


def test_a_signal_ends_the_wait_for_a_verdict(parts, monkeypatch):
  num_looks = 0

  def check():
    nonlocal num_looks
    num_looks += 1
    if num_looks > 2:
      raise interruption.Interrupted("SIGTERM")

  def agree():
    raise interruption.Interrupted("SIGTERM")

  monkeypatch.setattr(interruption, "check", check)
  monkeypatch.setattr(distributed, "agree_to_stop", agree)
  with pytest.raises(interruption.Interrupted):
    collect(parts, [rollout(0)], [None])
  assert num_looks == 3
