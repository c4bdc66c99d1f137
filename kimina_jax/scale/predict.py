"""A predicted row: the programs of a case, compiled and analysed.

In: a StudyCase, in a process with the environment of its topology. Out: a row
of plain values for JSON: memory, FLOPs, HBM and interconnect traffic, and the
roofline bound. A program that does not fit the chip gives a row that says how
much memory is missing. No program is run.
"""

import dataclasses
import importlib.metadata
import re
import time
from typing import Any

import jax

from kimina_jax.infra import chips
from kimina_jax.scale import flops, hlo, roofline, traffic
from kimina_jax.scale.cases import StudyCase
from kimina_jax.scale.programs import make_case_programs
from kimina_jax.scale.specs import CasePrograms, ProgramSpec
from kimina_jax.scale.topologies import (
  Topology,
  parse_topology,
  topology_devices,
)

FITS, TOO_LARGE, FAILED = "fits", "does not fit", "failed"

Row = dict[str, Any]


def predict_row(case: StudyCase) -> Row:
  """Compiles every program of a case."""
  topology = parse_topology(case.topology)
  devices = topology_devices(topology)
  programs = make_case_programs(case, devices)
  chip = chips.by_kind(devices[0].device_kind)
  row = row_header(case) | {
    "num_devices": len(devices),
    "chip": chip.name,
    "tokens": programs.tokens,
    "model_flops": programs.model_flops,
    "memory": {name: int(size) for name, size in programs.memory.items()},
    "parts": {},
  }
  if programs.dispatch:
    row["sampling"] = programs.dispatch._asdict()
  for spec in programs.programs:
    row["parts"][spec.name] = _compile(spec, programs, topology, chip)
  return row | _summary(row, chip)


def row_header(case: StudyCase) -> Row:
  """The columns that every row has, a failed one too."""
  return {
    "key": case.key,
    "kind": "predicted",
    "case": dataclasses.asdict(case),
    "versions": {name: _version(name) for name in ("jax", "libtpu")},
  }


def parse_out_of_memory(message: str) -> tuple[float, float] | None:
  """Bytes needed and available, if a compiler's error is lack of memory.

  Example:
    parse_out_of_memory("RESOURCE_EXHAUSTED: … Used 16.05G of 15.75G hbm. …")
  """
  match = _USED.search(message) or _REQUIRED.search(message)
  if not match:
    return None
  needed, needed_unit, limit, limit_unit = match.groups()
  return (
    float(needed) * _UNITS[needed_unit],
    float(limit) * _UNITS[limit_unit],
  )


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
_USED = re.compile(rf"Used {_SIZE} of {_SIZE} hbm")
_REQUIRED = re.compile(
  rf"\({_SIZE}\) exceeds available (?:HBM|memory)\s*\({_SIZE}\)"
)


def _compile(
  spec: ProgramSpec,
  programs: CasePrograms,
  topology: Topology,
  chip: chips.Chip,
) -> Row:
  # Kernels choose their code by the device of the mesh that is set.
  with jax.set_mesh(programs.mesh):
    traced = spec.function.trace(*spec.args, **spec.options)
    lowered = traced.lower()
    started_s = time.monotonic()
    try:
      compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
      sizes = parse_out_of_memory(str(error))
      if sizes is None:
        raise
      needed, limit = sizes
      compiled = None
  compile_s = time.monotonic() - started_s
  row = {
    "compile_s": round(compile_s, 1),
    "flops": flops.count_flops(
      traced.jaxpr, trip_counts=spec.trip_counts, kernels=spec.kernels
    ),
  }
  if compiled is None:
    return row | {"peak_bytes": int(needed) + spec.held, "limit_bytes": limit}
  return row | _analyse(compiled, spec, programs, topology, chip, row["flops"])


def _analyse(
  compiled: Any,
  spec: ProgramSpec,
  programs: CasePrograms,
  topology: Topology,
  chip: chips.Chip,
  executed_flops: float,
) -> Row:
  """Memory, traffic and the roofline bound of a compiled program."""
  module = hlo.parse_module(compiled.as_text())
  collectives = traffic.find_collectives(
    module, dict(programs.mesh.shape), trip_counts=spec.trip_counts
  )
  moved = traffic.hbm_bytes(
    module, trip_counts=spec.trip_counts, kernels=spec.kernels
  )
  times = roofline.bound_seconds(
    flops=executed_flops,
    hbm_bytes=moved,
    collectives=collectives,
    places=roofline.device_places(programs.mesh.devices.flat),
    wraps=topology.wraps,
    shape=topology.shape,
    chip=chip,
  )
  binds, bound_s = roofline.binding(times)
  return {
    "peak_bytes": _peak_bytes(compiled, chip) + spec.held,
    "hbm_bytes": moved,
    "collective_bytes": traffic.bytes_per_axis(collectives),
    "times_s": times,
    "binds": binds,
    "bound_s": bound_s,
  }


def _peak_bytes(compiled: Any, chip: chips.Chip) -> int:
  """Peak bytes per device; only TPU's compiler reports it, else a sum."""
  stats = compiled.memory_analysis()
  if chip.num_dims:
    return stats.peak_memory_in_bytes
  return (
    stats.argument_size_in_bytes
    + stats.output_size_in_bytes
    - stats.alias_size_in_bytes
    + stats.temp_size_in_bytes
  )


def _summary(row: Row, chip: chips.Chip) -> Row:
  """Columns over all programs, which run one after the other."""
  programs = list(row["parts"].values())
  peak = max(program["peak_bytes"] for program in programs)
  limit = (
    max(program.get("limit_bytes", 0) for program in programs) or chip.hbm_bytes
  )
  known = sum(row["memory"].values())
  facts = {
    "memory": row["memory"] | {"activations": max(0, peak - known)},
    "peak_bytes": peak,
    "limit_bytes": int(limit),
    "status": FITS if peak <= limit else TOO_LARGE,
    "compile_s": round(sum(program["compile_s"] for program in programs), 1),
    "flops": sum(program["flops"] for program in programs),
  }
  if any("bound_s" not in program for program in programs):
    return facts
  bound_s = sum(program["bound_s"] for program in programs)
  rate = chip.peak_flops * row["num_devices"]
  return facts | {
    "bound_s": bound_s,
    "binds": max(programs, key=lambda program: program["bound_s"])["binds"],
    "mfu": row["model_flops"] / rate / bound_s,
    "tokens_per_s": row["tokens"] / bound_s,
  }


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ""
