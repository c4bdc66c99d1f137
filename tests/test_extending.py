"""The examples of docs/extending.md, run as they stand there."""

import pathlib
import re

import jax
import numpy as np
import pytest

from kimina_jax.configs import debug
from kimina_jax.learning import losses
from kimina_jax.model import hf_config
from kimina_jax.model.config import model_config
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.problems import load
from kimina_jax.prompts import template
from kimina_jax.rewards import reward
from kimina_jax.types import (
  Batch,
  Extraction,
  Problem,
  Rollout,
  Status,
  Verdict,
)
from kimina_jax.verification import pool
from kimina_jax.verification.extract import extract

TEXT = (
  pathlib.Path(__file__).parent.parent / "docs" / "extending.md"
).read_text()
TABLES = (
  (losses, "LOSSES"),
  (reward, "TERMS"),
  (load, "SOURCES"),
  (template, "PROMPT_KINDS"),
  (pool, "BACKENDS"),
  (hf_config, "FAMILIES"),
)


@pytest.fixture(autouse=True)
def tables(monkeypatch):
  """Copies of all tables: what an example adds is gone after its test."""
  for module, name in TABLES:
    table = getattr(module, name)
    monkeypatch.setattr(module, name, type(table)(table))


def run(title: str) -> None:
  """Runs the code block below a heading of the page."""
  section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
  (code,) = re.findall(
    r"^```python\n(.*?)^```\n", section, re.DOTALL | re.MULTILINE
  )
  exec(code, {"__name__": "example"})


def experiment(**changes) -> Experiment:
  config = debug.get_config()
  config.update_from_flattened_dict(changes)
  return Experiment.from_config(config)


def test_loss():
  """Against a loop over two sequences in one row, and finite differences."""
  run("A loss")
  settings = experiment(**{"loss.name": "unclipped"}).loss
  loss = losses.make_loss(settings, max_len=8)
  rng = np.random.default_rng(0)
  old_BT, new_BT = rng.normal(-1, 0.3, (2, 1, 6)).astype(np.float32)
  advantage_BM = np.array([[0.5, -0.25]], np.float32)
  segments_BT = np.array([[1, 1, 1, 2, 2, 0]])
  response_BT = np.array([[0, 1, 1, 0, 1, 0]], np.float32)
  batch = Batch(
    tokens_BT=np.zeros((1, 6), np.int32),
    positions_BT=np.array([[0, 1, 2, 0, 1, 0]]),
    segments_BT=segments_BT,
    response_BT=response_BT,
    advantage_BM=advantage_BM,
    weight_BM=np.ones((1, 2), np.float32),
    old_logp_BT=old_BT,
    sampler_logp_BT=old_BT,
  )
  totals = losses.add_to_totals(losses.UpdateTotals(2, 0, 0), batch)
  found, gradient_BT = jax.value_and_grad(
    lambda logp_BT: loss(logp_BT, batch, totals)[0]
  )(new_BT)
  expected = 0.0
  for t in (1, 2, 4):
    advantage = advantage_BM[0, segments_BT[0, t] - 1]
    expected -= np.exp(new_BT[0, t] - old_BT[0, t]) * advantage / 3
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert gradient_BT[0, 0] == gradient_BT[0, 3] == gradient_BT[0, 5] == 0
  assert gradient_BT[0, 1] < 0 < gradient_BT[0, 4]


@pytest.mark.parametrize(
  ("status", "expected"), [(Status.PROVED, 0.97), (Status.LEAN_ERROR, 0.0)]
)
def test_reward_term(status, expected):
  run("A reward term")
  response = (
    "<think>\n```tactics\nnorm_num\n```\n</think>\n\n```lean4\nnorm_num\n```"
  )
  tokens = np.zeros(3000, np.int32)
  rollout = Rollout(None, 0, tokens, tokens, tokens, response, "stop")
  sample = reward.make_sample(
    rollout, extract(response), Verdict(status), experiment().reward
  )
  assert sample.reward == pytest.approx(expected)


def test_problem_source():
  """The problems are loaded by name, and the embedded checker accepts."""
  run("A problem source")
  ours = experiment(
    **{
      "problems.train": "sums",
      "problems.eval": "sums",
      "problems.num_train": 3,
      "problems.decontaminate_ngram": 0,
    }
  )
  limit = load.PromptLimit(max_len=10**6, length=lambda problem: 1)
  problems = load.load_train_problems(ours.problems, limit, seed=7)
  assert [p.name for p in problems] == ["sum_0", "sum_2", "sum_4"]
  demonstration = load.SOURCES["sums"].demonstrate(problems[1], skill=1, seed=0)
  extraction = extract(demonstration.response)
  with pool.VerificationPool(ours.checker) as checker:
    assert checker.submit(problems[1], extraction).result().proved


def test_prompt():
  run("A prompt")
  problem = Problem("t", "import Mathlib\n", "theorem t : 1 < 2 := by", "Easy.")
  assert experiment(prompt="terse").prompt == "terse"
  text = template.render_prompt(problem, "terse")
  assert text.endswith(
    "<|im_start|>user\nimport Mathlib\ntheorem t : 1 < 2 := by<|im_end|>\n"
    "<|im_start|>assistant\n"
  )
  assert text != template.render_prompt(problem, "kimina")


def test_checker_backend():
  """It is chosen by name, and the syntax rules still apply before it."""
  run("A checker backend")
  settings = experiment(**{"checker.backend": "credulous"}).checker
  problem = Problem("t", "import Mathlib\n", "theorem t : 1 = 2 := by")
  start = f"{problem.header}{problem.statement}\n"
  with pool.VerificationPool(settings) as checker:
    verdicts = [
      checker.submit(problem, Extraction(final=start + proof)).result()
      for proof in ("  norm_num", "  sorry")
    ]
  assert [v.status for v in verdicts] == [Status.PROVED, Status.HAS_SORRY]


def test_model_family():
  """A config.json under the new name is read, and written under it again."""
  run("A model family")
  settings = experiment().model
  found = hf_config.config_to_hf(model_config(settings))
  again = hf_config.config_from_hf(
    found | {"model_type": "qwen2_math"}, settings
  )
  assert hf_config.config_to_hf(again) == found | {"model_type": "qwen2_math"}
