"""What every entry point sets up: run directory, mesh, policy, problems.

Comes in: the experiment (ConfigDict) and a directory. Goes out: a Job, the
first weights and the statements. What does not fit the machine, the weights or
the tokenizer is refused here, before anything is compiled.
"""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from kimina_jax.infra.checkpoint import Checkpointer, restore_params
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.infra.rundir import open_run
from kimina_jax.learning.optimizer import Optimizer
from kimina_jax.learning.update import TrainState, abstract_state, start_state
from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.model.hf_config import config_from_hf, config_to_hf
from kimina_jax.model.params import (
  abstract_params,
  check_mesh,
  init_params,
  param_shardings,
)
from kimina_jax.problems.load import PromptLimit
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import Tokenizer, load_tokenizer
from kimina_jax.types import UsageError

# What weights of one size have in common.
_SHAPE = (
  "vocab_size",
  "model_dim",
  "num_layers",
  "num_q_heads",
  "num_kv_heads",
  "head_dim",
  "ffn_dim",
  "tied",
)

# Counts that may be zero.
_OFF_AT_ZERO = ("top_k", "repetition_window", "cache_tokens")
_OFF_AT_ZERO += ("tokens_per_iteration",)

# Tokenizers that agree on this are taken to be the same.
_PROBE = (
  "theorem both (x y : ℝ) (h₀ : 2 * x = 10) : x + 3 = 8 ∧ y ≤ y ^ 2 + 1 := by"
  "\n  rcases h with rfl | rfl <;> norm_num\n<think>Linear over the integers. "
  "0123456789 The quick brown fox jumps over the lazy dog; ∀ ε > 0, ∃ δ"
)


@dataclasses.dataclass(frozen=True)
class Job:
  """One program's run, set up.

  Attributes:
    config: the experiment.
    run_dir: where it writes; None if it keeps nothing.
    mesh: all devices.
    model: sizes of the policy.
    tokenizer: its tokenizer.
  """

  config: ConfigDict
  run_dir: pathlib.Path | None
  mesh: jax.sharding.Mesh
  model: ModelConfig
  tokenizer: Tokenizer

  @property
  def prompt_limit(self) -> PromptLimit:
    """The longest prompt, in tokens of this tokenizer."""
    return PromptLimit(
      self.config.rollouts.max_prompt_len,
      lambda problem: len(make_prompt(problem, self.tokenizer).tokens),
    )


def open_job(
  config: ConfigDict,
  run_dir: str,
  *,
  program: str,
  rows_per_batch: int,
  sequence_len: int,
) -> Job:
  """Checks the experiment against the machine and opens its directory.

  Args:
    config: the experiment.
    run_dir: new, or of the same run interrupted.
    program: `train`, `sft` or `evaluate`.
    rows_per_batch: B of the program's batches; 0 if it has none.
    sequence_len: T of the program's batches; 0 if it has none.

  Raises:
    UsageError: sizes that do not fit each other, each with both numbers.
  """
  if not run_dir:
    raise UsageError("--run_dir is missing; name a directory for this run")
  job = open_model(
    config, rows_per_batch=rows_per_batch, sequence_len=sequence_len
  )
  root = open_run(
    run_dir,
    config.to_dict(),
    program=program,
    write_model=lambda path: write_model(path, job.model, job.tokenizer),
  )
  return dataclasses.replace(job, run_dir=root)


def open_model(
  config: ConfigDict, *, rows_per_batch: int = 0, sequence_len: int = 0
) -> Job:
  """As `open_job`, for a program that keeps nothing.

  Args:
    config: the experiment.
    rows_per_batch: B of the program's batches; 0 if it has none.
    sequence_len: T of the program's batches; 0 if it has none.
  """
  _check_numbers(config)
  model = _model(config)
  _check_length(config, model)
  mesh = make_mesh(MeshSettings(**config.mesh))
  check_mesh(model, mesh, num_rows=rows_per_batch, sequence_len=sequence_len)
  tokenizer = load_tokenizer(config.tokenizer)
  _check_tokenizer(config, tokenizer)
  if tokenizer.vocab_size > model.vocab_size:
    raise UsageError(
      f"tokenizer {config.tokenizer} has {tokenizer.vocab_size} tokens, model "
      f"{model.name} only {model.vocab_size}; choose a tokenizer of the model"
    )
  return Job(config, None, mesh, model, tokenizer)


def write_model(
  path: pathlib.Path, model: ModelConfig, tokenizer: Tokenizer
) -> None:
  """Writes what weights need beside them: config.json and tokenizer files."""
  path.mkdir(parents=True, exist_ok=True)
  stop = {
    "eos_token_id": tokenizer.stop_id,
    "pad_token_id": tokenizer.pad_id,
  }
  (path / "config.json").write_text(
    json.dumps(config_to_hf(model) | stop, indent=2)
  )
  tokenizer.save(path)


def first_params(job: Job) -> dict:
  """Weights from `config.init_from`, or drawn; in the layout of training."""
  shardings = param_shardings(job.model, job.mesh, "train")
  if not job.config.init_from:
    init = jax.jit(init_params, static_argnums=1, out_shardings=shardings)
    return init(jax.random.key(job.config.seed), job.model)
  return restore_params(job.config.init_from, sharded_params(job))


def sharded_params(job: Job) -> dict:
  """Shapes of the weights with their shardings, to restore into."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    abstract_params(job.model),
    param_shardings(job.model, job.mesh, "train"),
  )


def save_state(
  checkpoints: Checkpointer,
  state: TrainState,
  step: int,
  *,
  with_optimizer: bool,
  host: dict[str, Any],
  force: bool,
) -> None:
  """Saves learning's state beside the host's."""
  checkpoints.save(
    step,
    params=state.params,
    opt_state=state.opt_state if with_optimizer else None,
    host={**host, "num_updates": int(jax.device_get(state.step))},
    force=force,
  )


def resume_state(
  job: Job, optimizer: Optimizer, checkpoints: Checkpointer
) -> tuple[TrainState, int, dict[str, Any]]:
  """State, step and host of the newest checkpoint, or of the beginning."""
  step = checkpoints.latest_step()
  if step is None:
    params = first_params(job)
    state = start_state(params, job.model, optimizer=optimizer, mesh=job.mesh)
    return state, 0, {}
  wanted = abstract_state(job.model, optimizer, mesh=job.mesh)
  found = checkpoints.restore(
    step,
    params=wanted.params,
    opt_state=None if optimizer.reset else wanted.opt_state,
  )
  state = start_state(
    found.params, job.model, optimizer=optimizer, mesh=job.mesh
  )
  num_updates = np.int32(found.host["num_updates"])
  state = state._replace(
    opt_state=found.opt_state or state.opt_state,
    step=jax.device_put(num_updates, wanted.step.sharding),
  )
  return state, step, found.host


def _check_numbers(config: ConfigDict) -> None:
  """No number is negative, and counts of something are at least one."""
  if not 0 <= config.seed < 2**31:
    raise UsageError(f"seed = {config.seed} must be in [0, 2147483648)")
  for name, section in config.items():
    if not isinstance(section, ConfigDict) or name == "mesh":
      continue
    for key, value in section.items():
      is_count = isinstance(value, int) and name in ("train", "sft", "rollouts")
      least = 1 if is_count and key not in _OFF_AT_ZERO else 0
      if isinstance(value, bool):
        continue
      if isinstance(value, int | float) and value < least:
        raise UsageError(f"{name}.{key} = {value} must be at least {least}")


def _check_length(config: ConfigDict, model: ModelConfig) -> None:
  longest = config.rollouts.max_prompt_len + config.rollouts.max_response_len
  if longest > model.max_position:
    raise UsageError(
      f"rollouts.max_prompt_len + max_response_len = {longest} tokens, but "
      f"{model.name} was trained for {model.max_position} positions"
    )


def _model(config: ConfigDict) -> ModelConfig:
  """The named model, or that of the weights if it has the same shapes.

  Base, instruct and math weights of one size differ in what is no shape: the
  base of the rotary wavelengths, epsilon, the length trained for.
  """
  settings = ModelSettings(**config.model)
  model = model_config(settings)
  path = _model_file(config.init_from)
  if not path:
    return model
  there = config_from_hf(json.loads(path.read_text()), settings)
  differing = [
    f"{name} is {getattr(there, name)} there, {getattr(model, name)} in "
    f"{model.name}"
    for name in _SHAPE
    if getattr(there, name) != getattr(model, name)
  ]
  if differing:
    raise UsageError(
      f"{path} is another model than model.name: {'; '.join(differing)}"
    )
  return there


def _check_tokenizer(config: ConfigDict, tokenizer: Tokenizer) -> None:
  """Weights know the tokens that they were trained with, and no others."""
  path = _model_file(config.init_from)
  if not path:
    return
  there = load_tokenizer(str(path.parent))
  if not np.array_equal(there.encode(_PROBE), tokenizer.encode(_PROBE)):
    raise UsageError(
      f"the weights in {config.init_from} were trained with another tokenizer "
      f"than {config.tokenizer!r}; set tokenizer={path.parent}"
    )


def _model_file(weights: str) -> pathlib.Path | None:
  """config.json beside weights: of a model, a run, or a step of a run."""
  if not weights:
    return None
  path = pathlib.Path(weights)
  found = (
    place / "model" / "config.json" for place in (path, path.parent.parent)
  )
  return next(filter(pathlib.Path.exists, found), None)
