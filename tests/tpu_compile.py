"""Compiles a tiny program for TPUs that are not there; prints facts as JSON.

Runs in its own process, because the TPU compiler reads its environment when
JAX starts: `python tests/tpu_compile.py gradient full 1 8 1 1` (data, fsdp,
context, tensor). The sampler's programs are `decode` and `prefill`.
"""

import dataclasses
import json
import os
import re
import sys
from typing import Any

os.environ |= {
  "JAX_PLATFORMS": "cpu",
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from plain_settings import loss_settings, optimizer_settings

from kimina_jax.infra.mesh import AXES, MeshSettings, make_mesh
from kimina_jax.learning import losses
from kimina_jax.learning import update as updating
from kimina_jax.learning.batch import abstract_batch
from kimina_jax.learning.optimizer import make_optimizer
from kimina_jax.model.config import ModelConfig
from kimina_jax.scale import hlo
from kimina_jax.scale.cases import StudyCase
from kimina_jax.scale.sampler import make_sampler_programs
from kimina_jax.scale.specs import device_bytes

_ROWS, _LENGTH = 8, 512


def main(program: str, remat: str, sizes: list[int]) -> dict[str, Any]:
  """Kernels, bytes on the host, all-gathers and large copies."""
  topology = topologies.get_topology_desc(
    topology_name="v5e:2x4", platform="tpu"
  )
  mesh = make_mesh(
    MeshSettings(**dict(zip(AXES, sizes, strict=True))),
    devices=topology.devices,
  )
  config = ModelConfig(
    name="tiny",
    vocab_size=2048,
    model_dim=512,
    num_layers=3,
    num_q_heads=4,
    num_kv_heads=2,
    head_dim=64,
    ffn_dim=1024,
    tied=True,
    rope_theta=1e6,
    norm_eps=1e-6,
    max_position=_LENGTH,
    param_dtype="float32",
    compute_dtype="bfloat16",
    remat=remat,
    attention="splash",
  )
  if program in ("decode", "prefill"):
    return _sampler_facts(program, config, mesh)
  return _facts(_lower(program, config, mesh).compile())


def _lower(
  program: str, config: ModelConfig, mesh: jax.sharding.Mesh
) -> jax.stages.Lowered:
  optimizer = make_optimizer(optimizer_settings())
  loss = losses.make_loss(loss_settings(), max_len=_LENGTH)
  state = updating.abstract_state(config, optimizer, mesh=mesh)
  batch = abstract_batch(mesh, num_rows=_ROWS, sequence_len=_LENGTH)
  scalar = jax.ShapeDtypeStruct(
    (), jnp.float32, sharding=state.num_updates.sharding
  )
  totals = losses.UpdateTotals(scalar, scalar, scalar)
  programs = updating.make_update_programs(
    config, optimizer, loss=loss, mesh=mesh
  )
  score = updating.make_old_logprobs_program(config, mesh=mesh)
  # Around tracing alone: nothing can run on these devices.
  with jax.set_mesh(mesh):
    if program == "score":
      return score.lower(state.params, batch)
    return programs.gradient.lower(state.params, batch, totals)


def _sampler_facts(
  program: str, config: ModelConfig, mesh: jax.sharding.Mesh
) -> dict[str, Any]:
  # Units of a device that are no multiple of 128: a TPU would rather not lay
  # them out last.
  config = dataclasses.replace(config, head_dim=128, ffn_dim=4672)
  rollouts = {
    "tensor": mesh.shape["tensor"],
    "max_prompt_len": 128,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "stop_strings": (),
    "repetition_window": 64,
    "steps_per_dispatch": 4,
    "page_size": 32,
    "cache_tokens": 2**16,
    "cache_dtype": "auto",
    "chunk_tokens": 64,
  }
  sizes, sections = dict(mesh.shape), {"rollouts": rollouts}
  case = StudyCase("", program, "", sizes, _LENGTH, _ROWS * mesh.size, sections)
  plan = make_sampler_programs(case, config, mesh)
  (part,) = plan.programs
  with jax.set_mesh(mesh):
    compiled = part.function.lower(*part.args, **part.options).compile()
  held = device_bytes(part.args)
  return {
    **_facts(compiled),
    "pool_bytes": plan.memory["kv cache"],
    "extra_bytes": compiled.memory_analysis().peak_memory_in_bytes - held,
  }


def _facts(compiled: jax.stages.Compiled) -> dict[str, Any]:
  text = compiled.as_text()
  return {
    "num_kernels": text.count('custom_call_target="tpu_custom_call"'),
    "host_bytes": compiled.memory_analysis().host_temp_size_in_bytes,
    "gathered": _gathered(text),
    "copied": _copied(text),
  }


def _copied(text: str) -> list[str]:
  """Types of the copies into main memory, of a MiB and more."""
  module = hlo.parse_module(text)
  found = [
    line
    for lines in module.computations.values()
    for line in lines
    if line.op in ("copy", "copy-start", "transpose")
    and line.arrays[0].num_bytes >= 2**20
    and not line.arrays[0].space
  ]
  return sorted(line.type for line in found)


def _gathered(text: str) -> list[str]:
  """Type and shape of each all-gather.

  One that is asynchronous appears several times, under one channel; those of
  a shard_map all have the same channel.
  """
  pattern = r"= \(?(\w+\[[\d,]*\]).* all-gather(?:-start)?\(.*channel_id=(\d+)"
  return sorted(what for what, _ in set(re.findall(pattern, text)))


if __name__ == "__main__":
  program, remat, *sizes = sys.argv[1:]
  print(json.dumps(main(program, remat, [int(size) for size in sizes])))
