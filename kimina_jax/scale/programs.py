"""The programs of a study case, with abstract inputs, ready to compile.

In: a StudyCase and the devices of its topology. Out: CasePrograms: the jitted
functions that `train.py` runs, with the shapes and shardings that a run would
call them with, and the bytes that each device holds. Nothing here re-implements
the system. No array is allocated.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.learning.batch import abstract_batch
from kimina_jax.learning.losses import LossSettings, UpdateTotals, make_loss
from kimina_jax.learning.optimizer import OptimizerSettings, make_optimizer
from kimina_jax.learning.update import (
  abstract_state,
  make_old_logprobs_program,
  make_update_programs,
)
from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.rollouts.resharding import make_reshard
from kimina_jax.scale.cases import StudyCase
from kimina_jax.scale.sampler import make_sampler_programs
from kimina_jax.scale.specs import (
  CasePrograms,
  ProgramSpec,
  PyTree,
  abstract_array,
  abstract_weights,
  device_bytes,
  forward_flops,
  with_shardings,
)
from kimina_jax.types import Batch


def make_case_programs(case: StudyCase, devices: list[Any]) -> CasePrograms:
  """The programs of a case on devices, abstract or real."""
  model = model_config(ModelSettings(**case.sections["model"]))
  mesh = meshes.make_mesh(meshes.MeshSettings(**case.mesh), devices=devices)
  make = {
    "update": _update_programs,
    "accumulate": _update_programs,
    "logprobs": _logprobs_program,
    "prefill": make_sampler_programs,
    "decode": make_sampler_programs,
    "reshard": _reshard_program,
  }
  return make[case.program](case, model, mesh)


def _update_programs(
  case: StudyCase, model: ModelConfig, mesh: Mesh
) -> CasePrograms:
  """Gradient of one batch, then the optimizer step ("update"); or the gradient
  of a further batch, added to the first ("accumulate").

  The optimizer's moments stay on the device while gradients are computed.
  """
  optimizer = make_optimizer(OptimizerSettings(**case.sections["optimizer"]))
  settings = LossSettings(**case.sections["loss"])
  loss = make_loss(settings, max_len=case.sequence_len)
  state = abstract_state(model, optimizer, mesh=mesh)
  programs = make_update_programs(model, optimizer, loss=loss, mesh=mesh)
  scalar: Any = abstract_array(mesh, "", (), jnp.float32)
  inputs = (
    state.params,
    _batch(case, mesh),
    UpdateTotals(scalar, scalar, scalar),
  )
  with jax.set_mesh(mesh):
    grads, metrics = jax.eval_shape(programs.gradient, *inputs)
  sums = (with_shardings(grads, _shardings(state.params)), metrics)
  moments = device_bytes(state.opt_state)
  if case.program == "update":
    specs = [
      ProgramSpec("gradient", programs.gradient, inputs, held=moments),
      ProgramSpec("apply", programs.apply, (state, sums)),
    ]
  else:
    specs = [
      ProgramSpec(
        "accumulate", programs.accumulate, (sums, *inputs), held=moments
      )
    ]
  return CasePrograms(
    programs=specs,
    mesh=mesh,
    memory={
      "parameters": device_bytes(state.params),
      "optimizer": moments,
      "gradients": device_bytes(sums[0]),
    },
    model_flops=3 * _batch_flops(case, model),
    tokens=case.num_rows * case.sequence_len,
  )


def _logprobs_program(
  case: StudyCase, model: ModelConfig, mesh: Mesh
) -> CasePrograms:
  params = abstract_weights(model, mesh, "train", model.param_dtype)
  program = make_old_logprobs_program(model, mesh=mesh)
  return CasePrograms(
    programs=[ProgramSpec("logprobs", program, (params, _batch(case, mesh)))],
    mesh=mesh,
    memory={"parameters": device_bytes(params)},
    model_flops=_batch_flops(case, model),
    tokens=case.num_rows * case.sequence_len,
  )


def _reshard_program(
  case: StudyCase, model: ModelConfig, mesh: Mesh
) -> CasePrograms:
  """The copy of the trainer's weights to the replicas.

  Both copies are on the devices.
  """
  tensor = case.sections["rollouts"]["tensor"]
  replicas = meshes.replica_mesh(mesh, tensor=tensor)
  params = abstract_weights(model, mesh, "train", model.param_dtype)
  copy = abstract_weights(model, replicas, "decode", model.compute_dtype)
  reshard = make_reshard(model, mesh, replicas)
  return CasePrograms(
    programs=[ProgramSpec("reshard", reshard, (params,))],
    mesh=mesh,
    memory={
      "parameters": device_bytes(params),
      "decode copy": device_bytes(copy),
    },
    model_flops=0.0,
    tokens=0,
  )


def _batch_flops(case: StudyCase, model: ModelConfig) -> float:
  """Model FLOPs of a forward pass over rows of one sequence each."""
  return forward_flops(
    model,
    tokens=case.num_rows * case.sequence_len,
    keys=(case.sequence_len + 1) / 2,
  )


def _batch(case: StudyCase, mesh: Mesh) -> Batch:
  return abstract_batch(
    mesh, num_rows=case.num_rows, sequence_len=case.sequence_len
  )


def _shardings(tree: PyTree) -> PyTree:
  return jax.tree.map(lambda leaf: leaf.sharding, tree)
