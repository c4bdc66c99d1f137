"""Validation of an experiment on this machine, before the run directory exists.

Each section's record has checked its own numbers. This module checks the
sections against each other and against devices, weights, tokenizer, data files
and checker. It runs before a directory is made or a program compiled, and
reports all faults together.

In: an Experiment. Out: a Setup, or a UsageError with one line per fault.
"""

import os
import sys

import jax
import jax.numpy as jnp
from absl import logging

from kimina_jax.infra import distributed
from kimina_jax.infra.arrays import check_tree
from kimina_jax.infra.checkpoint import find_weights, newest_step
from kimina_jax.infra.mesh import make_mesh, process_group, replica_mesh
from kimina_jax.model.config import ModelConfig, check_vocabulary
from kimina_jax.model.params import abstract_params, check_mesh
from kimina_jax.pipeline import resume_policy
from kimina_jax.pipeline.experiment import Experiment, Faults
from kimina_jax.pipeline.setup import (
  Setup,
  check_tokenizer,
  load_model,
  prompt_limit,
)
from kimina_jax.problems.load import load_eval_problems, load_train_problems
from kimina_jax.prompts.tokenizer import Tokenizer, load_tokenizer
from kimina_jax.rewards.advantage import check_tau
from kimina_jax.rollouts.settings import check_model, engine_sizes
from kimina_jax.types import Problem, UsageError
from kimina_jax.verification.pool import make_backend

_SAMPLING = ("train", "evaluate", "prove")


def validate(
  experiment: Experiment, *, program: str, run_dir: str | None = None
) -> Setup:
  """Checks an experiment on this machine and builds what programs start from.

  Args:
    experiment: all settings.
    program: `train`, `sft`, `evaluate` or `prove`.
    run_dir: directory of the run; None for a program that keeps none.

  Raises:
    UsageError: all that is wrong, one line per fault with value and remedy.
  """
  faults = Faults()
  if run_dir is not None:
    faults.collect(_check_run_dir, experiment, run_dir, program)
  weights = _weights(experiment, run_dir)
  model = faults.collect(load_model, experiment.model, weights)
  mesh = faults.collect(make_mesh, experiment.mesh)
  tokenizer = faults.collect(load_tokenizer, experiment.tokenizer)
  if model and weights:
    faults.collect(_check_weights, model, weights)
  if model and mesh:
    rows, length = _batch_shape(experiment, program)
    faults.collect(check_mesh, model, mesh, num_rows=rows, sequence_len=length)
  if program == "sft" and model and tokenizer:
    faults.collect(check_vocabulary, model, tokenizer.vocab_size)
  if tokenizer:
    faults.collect(check_tokenizer, experiment.tokenizer, tokenizer, weights)
  if program in _SAMPLING and model:
    faults.collect(_check_positions, experiment, model)
  if program in _SAMPLING and model and tokenizer:
    faults.collect(
      check_model,
      experiment.rollouts,
      model,
      num_tokens=tokenizer.vocab_size,
    )
  if program in _SAMPLING and model and mesh:
    faults.collect(_check_replicas, experiment, model, mesh)
  if program == "train":
    _check_training(faults, experiment)
  if program in ("train", "evaluate"):
    faults.collect(make_backend, experiment.checker)
  if tokenizer:
    train_problems, eval_problems = _load_problems(
      faults, experiment, tokenizer, program
    )
  faults.raise_all()
  assert model and mesh and tokenizer
  if run_dir is not None:
    # Process 0 writes to the directory next; by now all have read it.
    distributed.gather(None)
  return Setup(
    experiment, mesh, model, tokenizer, train_problems, eval_problems
  )


def _check_run_dir(experiment: Experiment, run_dir: str, program: str) -> None:
  """Raises UsageError if a run there cannot be resumed with these settings."""
  if not run_dir:
    raise UsageError("--run_dir is missing; name a directory for this run")
  found = resume_policy.changes_of_run(run_dir, experiment, program=program)
  resume_policy.check_changes(run_dir, found)
  for change in found:
    logging.info("resuming %s with %s", run_dir, change)


def _weights(experiment: Experiment, run_dir: str | None) -> str:
  """Directory of the weights to begin with: a resumed run has its own."""
  if run_dir and newest_step(run_dir) is not None:
    return run_dir
  return experiment.init_from


def _check_weights(model: ModelConfig, weights: str) -> None:
  """Raises UsageError if there are no weights, or those of another model."""
  path = find_weights(weights) / "params"
  check_tree(path, abstract_params(model), dtypes=False)


def _batch_shape(experiment: Experiment, program: str) -> tuple[int, int]:
  """B and T of the program's batches; (0, 0) if it does not train."""
  if program == "train":
    settings = experiment.train
    return settings.rows_per_batch, settings.sequence_len
  if program == "sft":
    return experiment.sft.rows_per_batch, experiment.sft.sequence_len
  return 0, 0


def _check_positions(experiment: Experiment, model: ModelConfig) -> None:
  longest = experiment.rollouts.max_sequence_len
  if longest > model.max_position:
    raise UsageError(
      f"rollouts.max_prompt_len + max_response_len = {longest} tokens, but "
      f"{model.name} was trained for {model.max_position} positions; shorten "
      "them, or set model.yarn_factor"
    )


def _check_replicas(
  experiment: Experiment, model: ModelConfig, mesh: jax.sharding.Mesh
) -> None:
  """Raises UsageError if the devices do not make up the sampler's replicas."""
  settings = experiment.rollouts
  replicas = replica_mesh(mesh, tensor=settings.tensor)
  process_group(replicas)
  sizes = engine_sizes(settings, num_replicas=replicas.shape["data"])
  positions = sizes.num_pages * sizes.page_size
  num_bytes = positions * _token_bytes(experiment, model)
  room = _device_bytes(replicas.local_devices[0]) * settings.tensor
  if num_bytes > room:
    if settings.cache_tokens:
      cause = f"rollouts.cache_tokens = {settings.cache_tokens}"
      remedy = "lower rollouts.cache_tokens"
    else:
      cause = f"rollouts.num_slots = {settings.num_slots}"
      remedy = "lower rollouts.num_slots, or set rollouts.cache_tokens"
    raise UsageError(
      f"{cause} needs a KV cache of {num_bytes / 2**30:.1f} GiB in each "
      f"replica, which has {room / 2**30:.1f} GiB; {remedy}"
    )


def _token_bytes(experiment: Experiment, model: ModelConfig) -> int:
  """Bytes of the keys and values of one position, in all layers."""
  dtype = experiment.rollouts.cache_dtype
  if dtype == "auto":
    dtype = model.compute_dtype
  width = model.num_kv_heads * model.head_dim
  return 2 * model.num_layers * width * jnp.dtype(dtype).itemsize


def _device_bytes(device: jax.Device) -> int:
  """Memory of a device; of a CPU device, its share of the machine's memory."""
  if device.platform == "cpu":
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return total // jax.local_device_count()
  stats = device.memory_stats() or {}
  return stats.get("bytes_limit", sys.maxsize)


def _check_training(faults: Faults, experiment: Experiment) -> None:
  """Checks the sections of reinforcement learning against each other."""
  settings, longest = experiment.train, experiment.rollouts.max_sequence_len
  if longest > settings.sequence_len:
    faults.add(
      f"rollouts.max_prompt_len + max_response_len = {longest} tokens do not "
      f"fit train.sequence_len = {settings.sequence_len}; raise it"
    )
  num_samples = settings.num_problems * settings.num_per_problem
  is_fixed = not settings.tokens_per_iteration
  if is_fixed and num_samples % settings.num_minibatches:
    faults.add(
      f"train.num_problems × num_per_problem = {num_samples} samples do not "
      f"split into num_minibatches = {settings.num_minibatches} equal parts; "
      "choose a divisor"
    )
  faults.collect(check_tau, experiment.advantage, experiment.loss.tau)
  if settings.num_per_problem == 1:
    faults.add(
      f"train.num_per_problem = 1 with advantage.baseline = "
      f"{experiment.advantage.baseline!r}: the baseline of a single rollout is "
      "its own reward, so every advantage is 0; choose at least 2"
    )


def _load_problems(
  faults: Faults, experiment: Experiment, tokenizer: Tokenizer, program: str
) -> tuple[list[Problem], list[Problem]]:
  """The problems to train on and the held-out ones that a program uses."""
  train: list[Problem] | None = None
  held_out: list[Problem] | None = None
  settings, limit = experiment.problems, prompt_limit(experiment, tokenizer)
  if program == "train":
    train = faults.collect(
      load_train_problems, settings, limit, seed=experiment.seed
    )
    if train and len(train) < experiment.train.num_problems:
      logging.warning(
        "problems.train has %d problems, fewer than train.num_problems = %d: "
        "an iteration draws some of them several times",
        len(train),
        experiment.train.num_problems,
      )
  if program in ("train", "evaluate"):
    held_out = faults.collect(load_eval_problems, settings, limit)
  return train or [], held_out or []
