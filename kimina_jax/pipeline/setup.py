"""Run setup: mesh, model, tokenizer, problems, first weights.

In: an Experiment. Out: a Setup, made by validate.py, which checks that its
parts fit each other, and the weights that learning or sampling starts from.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kimina_jax.infra.checkpoint import restore_params
from kimina_jax.infra.rundir import open_run_dir
from kimina_jax.model.config import (
  SHAPE_FIELDS,
  ModelConfig,
  ModelSettings,
  model_config,
)
from kimina_jax.model.hf_config import config_from_hf, config_to_hf
from kimina_jax.model.params import (
  abstract_params,
  init_params,
  param_shardings,
)
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.problems.load import PromptLimit
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import Tokenizer, load_tokenizer
from kimina_jax.types import Problem, Prompt, UsageError

# Two tokenizers are taken to be the same if they agree on this text.
_PROBE = (
  "theorem both (x y : ℝ) (h₀ : 2 * x = 10) : x + 3 = 8 ∧ y ≤ y ^ 2 + 1 := by"
  "\n  rcases h with rfl | rfl <;> norm_num\n<think>Linear over the integers. "
  "0123456789 The quick brown fox jumps over the lazy dog; ∀ ε > 0, ∃ δ"
)


@dataclasses.dataclass(frozen=True)
class Setup:
  """A validated experiment on this machine.

  Attributes:
    experiment: all settings.
    mesh: the training mesh, over all devices.
    model: sizes and dtypes of the policy.
    tokenizer: its tokenizer.
    train_problems: statements of RL; empty for other programs.
    eval_problems: held-out statements; empty for a program without evaluation.
  """

  experiment: Experiment
  mesh: jax.sharding.Mesh
  model: ModelConfig
  tokenizer: Tokenizer
  train_problems: Sequence[Problem] = ()
  eval_problems: Sequence[Problem] = ()

  def prompt(self, problem: Problem) -> Prompt:
    """The problem in the experiment's kind of prompt, with its tokens."""
    return make_prompt(problem, self.tokenizer, self.experiment.prompt)


def load_model(settings: ModelSettings, weights: str) -> ModelConfig:
  """The named model, or the one beside the weights if it has the same sizes.

  Base, instruct and math models of one size differ in the base of the rotary
  wavelengths, in epsilon, or in the number of positions trained for.

  Args:
    settings: the model section.
    weights: a model or run directory, or "".

  Raises:
    UsageError: the weights are those of a model with other sizes, or its
      config.json cannot be read.
  """
  model = model_config(settings)
  path = model_file(weights)
  if not path:
    return model
  try:
    saved = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UsageError(f"{path} cannot be read: {error}; restore it") from error
  found = config_from_hf(saved, settings)
  differing = [
    f"{name} is {getattr(found, name)} there, {getattr(model, name)} in "
    f"{model.name}"
    for name in SHAPE_FIELDS
    if getattr(found, name) != getattr(model, name)
  ]
  if differing:
    raise UsageError(
      f"{path} is another model than model.name: {'; '.join(differing)}"
    )
  return found


def check_tokenizer(name: str, tokenizer: Tokenizer, weights: str) -> None:
  """Raises UsageError if the weights were trained with another tokenizer.

  Args:
    name: the experiment's key `tokenizer`, for the message.
    tokenizer: the tokenizer of that name.
    weights: a model or run directory, or "".
  """
  path = model_file(weights)
  if not path:
    return
  found = load_tokenizer(str(path.parent))
  if not np.array_equal(found.encode(_PROBE), tokenizer.encode(_PROBE)):
    raise UsageError(
      f"the weights in {weights} were trained with another tokenizer "
      f"than {name!r}; set tokenizer={path.parent}"
    )


def prompt_limit(experiment: Experiment, tokenizer: Tokenizer) -> PromptLimit:
  """The longest prompt, in tokens of this tokenizer."""
  return PromptLimit(
    experiment.rollouts.max_prompt_len,
    lambda problem: len(
      make_prompt(problem, tokenizer, experiment.prompt).tokens
    ),
  )


def model_file(weights: str) -> pathlib.Path | None:
  """The config.json of a model directory, a run, or a checkpoint of a run."""
  if not weights:
    return None
  path = pathlib.Path(weights)
  candidates = (
    folder / "model" / "config.json" for folder in (path, path.parent.parent)
  )
  return next(filter(pathlib.Path.exists, candidates), None)


def write_model(
  path: pathlib.Path, model: ModelConfig, tokenizer: Tokenizer
) -> None:
  """Writes the files that weights need: config.json and the tokenizer's."""
  path.mkdir(parents=True, exist_ok=True)
  special = {
    "eos_token_id": tokenizer.stop_id,
    "pad_token_id": tokenizer.pad_id,
  }
  (path / "config.json").write_text(
    json.dumps(config_to_hf(model) | special, indent=2)
  )
  tokenizer.save(path)


def first_params(setup: Setup) -> dict[str, Any]:
  """Weights from `init_from`, or random ones; in the training layout."""
  experiment = setup.experiment
  shardings = param_shardings(setup.model, setup.mesh, "train")
  if not experiment.init_from:
    init = jax.jit(init_params, static_argnums=1, out_shardings=shardings)
    return init(jax.random.key(experiment.seed), setup.model)
  wanted = jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    abstract_params(setup.model),
    shardings,
  )
  return restore_params(experiment.init_from, wanted)


def open_directory(
  setup: Setup, run_dir: str, *, program: str
) -> contextlib.AbstractContextManager[pathlib.Path]:
  """Makes or reopens the directory of a run, locked, with the experiment."""
  return open_run_dir(
    run_dir,
    {"program": program, **dataclasses.asdict(setup.experiment)},
    write_model=lambda path: write_model(path, setup.model, setup.tokenizer),
  )
