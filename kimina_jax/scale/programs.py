"""The system's own programs with abstract inputs, ready to compile.

In: a Case and the devices of its topology. Out: Parts: jitted functions with
the shapes and shardings that a run would call them with, and what each device
holds of what. Nothing here is a model of the system: the functions are those
that `train.py` runs. Never allocates an array.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.learning.batch import abstract_batch
from kimina_jax.learning.losses import LossSettings, Totals, make_loss
from kimina_jax.learning.optimizer import OptimizerSettings, make_optimizer
from kimina_jax.learning.update import (
  abstract_state,
  make_programs,
  make_score_program,
)
from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.scale.cases import Case
from kimina_jax.scale.parts import (
  Part,
  Plan,
  abstract_array,
  abstract_weights,
  device_bytes,
  forward_flops,
  placed,
)
from kimina_jax.scale.sampler import make_sampler_plan
from kimina_jax.types import Batch

PyTree = Any


def make_plan(case: Case, devices: list[Any]) -> Plan:
  """The programs of a case on devices, abstract or not."""
  model = model_config(ModelSettings(**case.sections["model"]))
  mesh = meshes.make_mesh(meshes.MeshSettings(**case.mesh), devices=devices)
  make = {
    "update": _learn,
    "accumulate": _learn,
    "logprobs": _score,
    "prefill": make_sampler_plan,
    "decode": make_sampler_plan,
    "reshard": _reshard,
  }
  return make[case.program](case, model, mesh)


def _learn(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """Gradient of one batch, then the step; or the gradient of a further batch.

  The moments wait on the device while gradients are computed.
  """
  optimizer = make_optimizer(OptimizerSettings(**case.sections["optimizer"]))
  settings = LossSettings(**case.sections["loss"])
  loss = make_loss(settings, max_len=case.sequence_len)
  state = abstract_state(model, optimizer, mesh=mesh)
  programs = make_programs(model, optimizer, loss=loss, mesh=mesh)
  scalar = abstract_array(mesh, "", (), jnp.float32)
  inputs = (state.params, _batch(case, mesh), Totals(scalar, scalar, scalar))
  with jax.set_mesh(mesh):
    grads, metrics = jax.eval_shape(programs.gradient, *inputs)
  sums = (placed(grads, _shardings(state.params)), metrics)
  waiting = device_bytes(state.opt_state)
  if case.program == "update":
    gradient = Part("gradient", programs.gradient, inputs, held=waiting)
    parts = [gradient, Part("apply", programs.apply, (state, sums))]
  else:
    inputs = (sums, *inputs)
    parts = [Part("accumulate", programs.accumulate, inputs, held=waiting)]
  return Plan(
    parts=parts,
    mesh=mesh,
    memory={
      "parameters": device_bytes(state.params),
      "optimizer": waiting,
      "gradients": device_bytes(sums[0]),
    },
    model_flops=3 * _row_flops(case, model),
    tokens=case.num_rows * case.sequence_len,
  )


def _score(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  params = abstract_weights(model, mesh, "train", model.param_dtype)
  program = make_score_program(model, mesh=mesh)
  return Plan(
    parts=[Part("logprobs", program, (params, _batch(case, mesh)))],
    mesh=mesh,
    memory={"parameters": device_bytes(params)},
    model_flops=_row_flops(case, model),
    tokens=case.num_rows * case.sequence_len,
  )


def _reshard(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """The trainer's weights to the replicas; both copies are on the device."""
  tensor = case.sections["rollouts"]["tensor"]
  replicas = meshes.replica_mesh(mesh, tensor=tensor)
  params = abstract_weights(model, mesh, "train", model.param_dtype)
  copy = abstract_weights(model, replicas, "decode", model.compute_dtype)
  return Plan(
    parts=[Part("reshard", make_reshard(model, mesh, replicas), (params,))],
    mesh=mesh,
    memory={
      "parameters": device_bytes(params),
      "decode copy": device_bytes(copy),
    },
    model_flops=0.0,
    tokens=0,
  )


def _row_flops(case: Case, model: ModelConfig) -> float:
  """A forward pass over rows of one sequence each."""
  return forward_flops(
    model,
    tokens=case.num_rows * case.sequence_len,
    keys=(case.sequence_len + 1) / 2,
  )


def _batch(case: Case, mesh: Mesh) -> Batch:
  return abstract_batch(
    mesh, num_rows=case.num_rows, sequence_len=case.sequence_len
  )


def _shardings(tree: PyTree) -> PyTree:
  return jax.tree.map(lambda leaf: leaf.sharding, tree)
