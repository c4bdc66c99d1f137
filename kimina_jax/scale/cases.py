"""The cases of a scaling study: all combinations of the flags' values.

In: experiments, topologies, meshes, programs, lengths. Out: StudyCases, each
with everything that defines a row, and a key that is its hash. A combination
that cannot run (a mesh that does not divide the model) is refused with one
line, before any process starts. JAX's devices are not initialised.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from kimina_jax.infra.mesh import AXES, MeshSettings
from kimina_jax.rollouts.settings import RolloutSettings, engine_sizes
from kimina_jax.scale.topologies import Topology, parse_topology
from kimina_jax.types import UsageError

# The columns of a row, by name: see predict.py and measure.py.
StudyRow = Mapping[str, Any]

AUTO, OF_CONFIG = "auto", "config"

# The sections of an experiment that each program depends on.
PROGRAM_SECTIONS = {
  "update": ("model", "loss", "optimizer"),
  "accumulate": ("model", "loss", "optimizer"),
  "logprobs": ("model",),
  "prefill": ("model", "rollouts"),
  "decode": ("model", "rollouts"),
  "reshard": ("model", "rollouts"),
}
_TRAINING = ("update", "accumulate", "logprobs")
_SAMPLING = ("prefill", "decode")
# Tokens; rows are not split over `context` into shorter parts.
_MIN_CONTEXT_PART = 2048


@dataclasses.dataclass(frozen=True)
class StudyCase:
  """The case of one row: a program, compiled for a mesh.

  Attributes:
    experiment: name of the experiment; a label, not part of the key.
    program: of PROGRAM_SECTIONS.
    topology: see topologies.parse_topology.
    mesh: axis → devices; for prefill and decode, the mesh of the replicas.
    sequence_len: T of training rows, positions of the longest rollout; 0 for
      reshard.
    num_rows: B of a batch, decode slots of all replicas; 0 for reshard.
    sections: the sections of the experiment that the program depends on.
  """

  experiment: str
  program: str
  topology: str
  mesh: Mapping[str, int]
  sequence_len: int
  num_rows: int
  sections: Mapping[str, Mapping[str, Any]]

  @property
  def key(self) -> str:
    """Hash of everything that defines the row."""
    facts = dataclasses.asdict(self)
    del facts["experiment"]
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

  @property
  def title(self) -> str:
    """One line for progress."""
    sizes = "×".join(f"{a}{n}" for a, n in self.mesh.items() if n > 1)
    parts = [self.model_name, self.topology, sizes or "1 device", self.program]
    if self.num_rows:
      parts.append(f"{self.num_rows}×{self.sequence_len}")
    return " ".join(parts)

  @property
  def model_name(self) -> str:
    return self.sections["model"]["name"]


def plan_cases(
  experiments: Mapping[str, ConfigDict],
  topologies: Sequence[str],
  *,
  meshes: Sequence[str],
  programs: Sequence[str],
  sequence_lens: Sequence[int],
  num_rows: int,
) -> list[StudyCase]:
  """The cases of all combinations, each once.

  Args:
    experiments: by name.
    topologies: names.
    meshes: "fsdp=32,tensor=2", AUTO or OF_CONFIG.
    programs: of PROGRAM_SECTIONS.
    sequence_lens: in tokens; 0 stands for the experiment's.
    num_rows: B of training, decode slots of the sampler; 0 stands for one row
      per shard, and for the experiment's slots.

  Raises:
    UsageError: an unknown name, or a mesh that does not divide.
  """
  unknown = sorted(set(programs) - set(PROGRAM_SECTIONS))
  if unknown:
    raise UsageError(
      f"--program={unknown[0]}; known: {', '.join(PROGRAM_SECTIONS)}"
    )
  found: dict[str, StudyCase] = {}
  combinations = itertools.product(
    experiments.items(),
    map(parse_topology, topologies),
    programs,
    sequence_lens,
    meshes,
  )
  for (name, config), topology, program, length, mesh in combinations:
    length = length or _sequence_len(config, program)
    for sizes in _meshes(config, topology, mesh, program, length, num_rows):
      case = _case(name, config, topology, program, length, sizes, num_rows)
      found.setdefault(case.key, case)
  if not found:
    raise UsageError(
      f"--mesh={AUTO} finds no mesh that divides the model on"
      f" {', '.join(topologies)}; name one to see why"
    )
  return list(found.values())


def _case(
  name: str,
  config: ConfigDict,
  topology: Topology,
  program: str,
  length: int,
  sizes: dict[str, int],
  num_rows: int,
) -> StudyCase:
  sections = {
    section: config[section].to_dict() for section in PROGRAM_SECTIONS[program]
  }
  if program in _TRAINING:
    rows = num_rows or sizes["data"] * sizes["fsdp"]
  elif program == "reshard":
    rows = length = 0
    sections["rollouts"] = {"tensor": config.rollouts.tensor}
  else:
    rows = num_rows or config.rollouts.num_slots
  return StudyCase(name, program, topology.name, sizes, length, rows, sections)


def _sequence_len(config: ConfigDict, program: str) -> int:
  if program in _TRAINING:
    return config.train.sequence_len
  return config.rollouts.max_prompt_len + config.rollouts.max_response_len


def _meshes(
  config: ConfigDict,
  topology: Topology,
  text: str,
  program: str,
  length: int,
  num_rows: int,
) -> Iterator[dict[str, int]]:
  """The meshes that a --mesh flag stands for."""
  count = topology.num_devices
  if program in _SAMPLING:
    slots = num_rows or config.rollouts.num_slots
    yield _replicas(config, count, program, slots, length)
    return
  if text == AUTO:
    for sizes in _factorisations(topology, length):
      rows = num_rows or sizes["data"] * sizes["fsdp"]
      if not _fault(config, sizes, program, length, rows):
        yield sizes
    return
  sizes = dict(config.mesh) if text == OF_CONFIG else _parse_mesh(text)
  if text == OF_CONFIG and topology.num_slices > 1:
    sizes["data"] = topology.num_slices
  try:
    sizes = dataclasses.asdict(MeshSettings(**sizes).fill(count))
  except UsageError as error:
    raise UsageError(f"{topology.name} --mesh={text}: {error}") from error
  rows = num_rows or sizes["data"] * sizes["fsdp"]
  fault = _fault(config, sizes, program, length, rows)
  if fault:
    raise UsageError(f"{topology.name} --mesh={text}: {fault}")
  yield sizes


def _replicas(
  config: ConfigDict, count: int, program: str, slots: int, length: int
) -> dict[str, int]:
  """The mesh of the replicas; checks that it has room for the slots."""
  tensor = config.rollouts.tensor
  if count % tensor:
    raise UsageError(
      f"rollouts.tensor = {tensor} does not divide {count} devices; set it"
      " with --config.rollouts.tensor=…"
    )
  replicas = count // tensor
  if slots % replicas:
    raise UsageError(
      f"{slots} slots over {replicas} replicas of {tensor} devices: choose a"
      f" multiple of {replicas} with --rows"
    )
  settings = rollout_settings(
    config.rollouts.to_dict(), sequence_len=length, num_slots=slots
  )
  engine_sizes(settings, num_replicas=replicas)  # refuses a small cache
  sizes = {"data": replicas, "fsdp": 1, "context": 1, "tensor": tensor}
  fault = _fault(config, sizes, program, length, slots)
  if fault:
    raise UsageError(f"rollouts.tensor = {tensor}: {fault}")
  return sizes


def rollout_settings(
  section: Mapping[str, Any], *, sequence_len: int, num_slots: int
) -> RolloutSettings:
  """The `rollouts` section with the study's number of slots and lengths.

  Args:
    section: of the experiment.
    sequence_len: positions of the longest sequence; the prompt is shortened
      if it does not leave room for a response.
    num_slots: of all replicas.
  """
  prompt_len = min(section["max_prompt_len"], sequence_len - 1)
  return RolloutSettings(
    **{
      **section,
      "num_slots": num_slots,
      "max_prompt_len": prompt_len,
      "max_response_len": sequence_len - prompt_len,
    }
  )


def _factorisations(
  topology: Topology, length: int
) -> Iterator[dict[str, int]]:
  """All meshes: data = slices, fsdp = what context and tensor leave."""
  each = topology.num_devices // topology.num_slices
  divisors = [size for size in range(1, each + 1) if each % size == 0]
  for context, tensor in itertools.product(divisors, divisors):
    if each % (context * tensor) or (
      context > 1 and length < context * _MIN_CONTEXT_PART
    ):
      continue
    yield {
      "data": topology.num_slices,
      "fsdp": each // (context * tensor),
      "context": context,
      "tensor": tensor,
    }


def _parse_mesh(text: str) -> dict[str, int]:
  sizes = dict.fromkeys(AXES, 1)
  for part in text.split(","):
    axis, _, size = part.partition("=")
    if axis not in AXES or not size.lstrip("-").isdigit():
      raise UsageError(
        f"--mesh={text}: spell it fsdp=32,tensor=2 with axes {', '.join(AXES)};"
        f" or {AUTO}, or {OF_CONFIG}"
      )
    sizes[axis] = int(size)
  return sizes


def _fault(
  config: ConfigDict,
  sizes: dict[str, int],
  program: str,
  length: int,
  rows: int,
) -> str:
  """The reason why a mesh does not fit the model; "" if it does."""
  # Imported here: it takes a second, which showing old rows does not need.
  from jax.sharding import AbstractMesh

  from kimina_jax.model.config import ModelSettings, model_config
  from kimina_jax.model.params import check_mesh

  if program == "reshard":
    rows = sizes["data"] * sizes["fsdp"]
    length = sizes["context"] * sizes["tensor"]
  mesh = AbstractMesh(tuple(sizes.values()), tuple(sizes))
  try:
    model = model_config(ModelSettings(**config.model))
    check_mesh(model, mesh, num_rows=rows, sequence_len=length)
  except UsageError as error:
    return str(error)
  return ""
