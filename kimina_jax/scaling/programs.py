"""The system's own programs with abstract inputs, ready to compile.

In: a Case and the devices of its topology. Out: Parts: jitted functions with
the shapes and shardings that a run would call them with, and what each device
holds of what. Nothing here is a model of the system: the functions are those
that `train.py` runs. Never allocates an array.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.learning.batch import abstract_batch
from kimina_jax.learning.losses import Totals, make_loss
from kimina_jax.learning.optimizer import make_optimizer
from kimina_jax.learning.update import (
  abstract_state,
  make_programs,
  make_score_program,
)
from kimina_jax.model.config import ModelConfig, model_config
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.rollouts import cache as caches
from kimina_jax.rollouts import programs as sampler
from kimina_jax.rollouts.weights import make_reshard
from kimina_jax.scaling.cases import Case
from kimina_jax.types import Batch

PyTree = Any


class Part(NamedTuple):
  """One program of a row.

  Attributes:
    name: of the program.
    function: jitted.
    args: abstract arguments.
    options: static keyword arguments.
    while_trips: runs of its open-ended loop.
    held: bytes per device of what is not among its arguments but must stay
      on the device meanwhile.
  """

  name: str
  function: Callable[..., Any]
  args: tuple[Any, ...]
  options: Mapping[str, Any] = {}
  while_trips: int = 1
  held: int = 0


class Plan(NamedTuple):
  """The programs of a row.

  Attributes:
    parts: in the order in which they run.
    mesh: to set while they are traced.
    memory: bytes per device of what can be told apart, by name.
    model_flops: what the model needs, over all devices.
    tokens: of one run.
  """

  parts: list[Part]
  mesh: Mesh
  memory: dict[str, int]
  model_flops: float
  tokens: int


def make_plan(case: Case, devices: list[Any]) -> Plan:
  """The programs of a case on devices, abstract or not."""
  model = model_config(**case.sections["model"])
  mesh = meshes.make_mesh(**case.mesh, devices=devices)
  make = {
    "update": _learn,
    "accumulate": _learn,
    "logprobs": _score,
    "prefill": _prefill,
    "decode": _decode,
    "reshard": _reshard,
  }
  return make[case.program](case, model, mesh)


def forward_flops(
  model: ModelConfig, *, tokens: int, keys: float, logits: bool = True
) -> float:
  """What a forward pass needs: two per weight and token, and attention.

  Args:
    model: its sizes.
    tokens: how many are fed.
    keys: that a token attends, on average.
    logits: whether they are scored against the vocabulary.
  """
  sizes = model.sizes
  D, N, K, H, F = (sizes[dim] for dim in "DNKHF")
  layer = 2 * D * N * H + 2 * D * K * H + 3 * D * F
  weights = sizes["L"] * layer + (sizes["V"] * D if logits else 0)
  attention = sizes["L"] * 2 * N * H * keys
  return 2.0 * tokens * (weights + attention)


def device_bytes(tree: PyTree) -> int:
  """Bytes per device of abstract arrays, host memory left out."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if leaf.sharding.memory_kind in (None, "device")
  )


def _learn(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """Gradient of one batch, then the step; or the gradient of a further batch.

  The moments wait on the device while gradients are computed.
  """
  optimizer = make_optimizer(**case.sections["optimizer"])
  loss = make_loss(**case.sections["loss"], max_len=case.sequence_len)
  state = abstract_state(model, optimizer, mesh=mesh)
  programs = make_programs(model, optimizer, loss=loss, mesh=mesh)
  scalar = _array(mesh, "", (), jnp.float32)
  inputs = (state.params, _batch(case, mesh), Totals(scalar, scalar, scalar))
  with jax.set_mesh(mesh):
    grads, metrics = jax.eval_shape(programs.gradient, *inputs)
  sums = (_placed(grads, _shardings(state.params)), metrics)
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
  params = _params(model, mesh, "train", model.param_dtype)
  program = make_score_program(model, mesh=mesh)
  return Plan(
    parts=[Part("logprobs", program, (params, _batch(case, mesh)))],
    mesh=mesh,
    memory={"parameters": device_bytes(params)},
    model_flops=_row_flops(case, model),
    tokens=case.num_rows * case.sequence_len,
  )


def _prefill(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """A batch of prompts: keys and values, no logits."""
  programs = _sampler(case, model, mesh)
  params = _params(model, mesh, "decode", model.compute_dtype)
  tokens_PT = _array(mesh, "BT", (case.num_rows, case.sequence_len))
  with jax.set_mesh(mesh):
    cache = jax.eval_shape(programs.prefill, params, tokens_PT)
  tokens = case.num_rows * case.sequence_len
  return Plan(
    parts=[Part("prefill", programs.prefill, (params, tokens_PT))],
    mesh=mesh,
    memory={
      "parameters": device_bytes(params),
      "kv cache": device_bytes(
        _placed(cache, sampler.slot_shardings(mesh).cache)
      ),
    },
    model_flops=forward_flops(
      model,
      tokens=tokens,
      keys=(case.sequence_len + 1) / 2,
      logits=False,
    ),
    tokens=tokens,
  )


def _decode(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """One dispatch of all slots at the end of their caches, the worst case."""
  programs = _sampler(case, model, mesh)
  params = _params(model, mesh, "decode", model.compute_dtype)
  with jax.set_mesh(mesh):
    slots = jax.eval_shape(programs.start)
  slots = _placed(slots, sampler.slot_shardings(mesh))
  steps = case.sections["rollouts"]["steps_per_dispatch"]
  length = caches.cache_len(0, case.sequence_len)
  tokens = case.num_rows * steps
  return Plan(
    parts=[
      Part(
        "decode",
        programs.decode,
        (params, slots, _array(mesh, "", (2,), jnp.uint32)),
        options={"kv_len": length},
        while_trips=steps,
      )
    ],
    mesh=mesh,
    memory={
      "parameters": device_bytes(params),
      "kv cache": device_bytes(slots.cache),
    },
    model_flops=forward_flops(model, tokens=tokens, keys=length),
    tokens=tokens,
  )


def _reshard(case: Case, model: ModelConfig, mesh: Mesh) -> Plan:
  """The trainer's weights to the replicas; both copies are on the device."""
  tensor = case.sections["rollouts"]["tensor"]
  replicas = meshes.replica_mesh(mesh, tensor=tensor)
  params = _params(model, mesh, "train", model.param_dtype)
  copy = _params(model, replicas, "decode", model.compute_dtype)
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


def _sampler(case: Case, model: ModelConfig, mesh: Mesh) -> sampler.Programs:
  section = case.sections["rollouts"]
  return sampler.make_programs(
    model,
    mesh,
    limits=sampler.Limits(
      temperature=section["temperature"],
      top_p=section["top_p"],
      stop_id=-1,  # no token: every dispatch runs all its steps
      max_response_len=section["max_response_len"],
      num_steps=section["steps_per_dispatch"],
    ),
    num_slots=case.num_rows,
    cache_len=caches.cache_len(0, case.sequence_len),
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


def _params(model: ModelConfig, mesh: Mesh, layout: str, dtype: str) -> PyTree:
  params = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)),
    abstract_params(model),
  )
  return _placed(params, param_shardings(model, mesh, layout))


def _array(
  mesh: Mesh, dims: str, shape: tuple[int, ...], dtype: Any = jnp.int32
) -> jax.ShapeDtypeStruct:
  where = meshes.sharding(mesh, dims, meshes.ACTIVATIONS["decode"])
  return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def _placed(tree: PyTree, shardings: PyTree) -> PyTree:
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
    shardings,
  )


def _shardings(tree: PyTree) -> PyTree:
  return jax.tree.map(lambda leaf: leaf.sharding, tree)
