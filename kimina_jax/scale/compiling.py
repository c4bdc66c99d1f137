"""One row: compiled, and read for what it says of memory and traffic.

In: a Case and its Topology, in a process whose environment fits it. Out: a
row of plain values for JSON. A program that does not fit is a row, which says
by how much. Never runs a program.
"""

import dataclasses
import importlib.metadata
import re
import time
from typing import Any

import jax

from kimina_jax.infra import chips
from kimina_jax.scale import (
  bounds,
  collectives,
  flops,
  hlo,
  topologies,
  traffic,
)
from kimina_jax.scale.cases import Case
from kimina_jax.scale.parts import Part, Plan
from kimina_jax.scale.programs import make_plan
from kimina_jax.scale.topologies import Topology

FITS, TOO_LARGE, FAILED = "fits", "does not fit", "failed"

Row = dict[str, Any]


def compile_row(case: Case) -> Row:
  """Compiles every part of a case."""
  topology = topologies.parse(case.topology)
  devices = topologies.devices(topology)
  plan = make_plan(case, devices)
  chip = chips.by_kind(devices[0].device_kind)
  row = head(case) | {
    "num_devices": len(devices),
    "chip": chip.name,
    "tokens": plan.tokens,
    "model_flops": plan.model_flops,
    "memory": {name: int(size) for name, size in plan.memory.items()},
    "parts": {},
  }
  if plan.sampling:
    row["sampling"] = plan.sampling._asdict()
  for part in plan.parts:
    row["parts"][part.name] = _compile_part(part, plan, topology, chip)
  return row | _summary(row, chip)


def head(case: Case) -> Row:
  """What a row has even if nothing else came of it."""
  return {
    "key": case.key,
    "kind": "predicted",
    "case": dataclasses.asdict(case),
    "versions": {name: _version(name) for name in ("jax", "libtpu")},
  }


def exhausted(message: str) -> tuple[float, float] | None:
  """Bytes needed and available, if that is what a compiler complains of.

  Example:
    exhausted("RESOURCE_EXHAUSTED: … Used 16.05G of 15.75G hbm. …")
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


def _compile_part(
  part: Part, plan: Plan, topology: Topology, chip: chips.Chip
) -> Row:
  # Kernels ask the mesh that is set for which device they are compiled.
  with jax.set_mesh(plan.mesh):
    traced = part.function.trace(*part.args, **part.options)
    lowered = traced.lower()
    started_s = time.monotonic()
    try:
      compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
      sizes = exhausted(str(error))
      if sizes is None:
        raise
      needed, limit = sizes
      compiled = None
  compile_s = time.monotonic() - started_s
  row = {
    "compile_s": round(compile_s, 1),
    "flops": flops.count(
      traced.jaxpr, while_trips=part.while_trips, kernels=part.kernels
    ),
  }
  if compiled is None:
    return row | {"peak_bytes": int(needed) + part.held, "limit_bytes": limit}
  return row | _read(compiled, part, plan, topology, chip, row["flops"])


def _read(
  compiled: Any,
  part: Part,
  plan: Plan,
  topology: Topology,
  chip: chips.Chip,
  executed: float,
) -> Row:
  """What the compiled program says of itself."""
  module = hlo.parse(compiled.as_text())
  trips = part.while_trips
  found = collectives.transfers(
    module, dict(plan.mesh.shape), while_trips=trips
  )
  moved = traffic.hbm_bytes(module, while_trips=trips, kernels=part.kernels)
  times = bounds.seconds(
    flops=executed,
    hbm_bytes=moved,
    transfers=found,
    where=bounds.places(plan.mesh.devices.flat),
    wraps=topology.wraps,
    shape=topology.shape,
    chip=chip,
  )
  binds, bound_s = bounds.binding(times)
  return {
    "peak_bytes": _peak(compiled, chip) + part.held,
    "hbm_bytes": moved,
    "collective_bytes": collectives.totals(found),
    "times_s": times,
    "binds": binds,
    "bound_s": bound_s,
  }


def _peak(compiled: Any, chip: chips.Chip) -> int:
  """Bytes per device; other compilers than TPU's know no peak."""
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
  """The row as a whole: its parts run one after the other."""
  parts = list(row["parts"].values())
  peak = max(part["peak_bytes"] for part in parts)
  limit = max(part.get("limit_bytes", 0) for part in parts) or chip.hbm_bytes
  known = sum(row["memory"].values())
  facts = {
    "memory": row["memory"] | {"activations": max(0, peak - known)},
    "peak_bytes": peak,
    "limit_bytes": int(limit),
    "status": FITS if peak <= limit else TOO_LARGE,
    "compile_s": round(sum(part["compile_s"] for part in parts), 1),
    "flops": sum(part["flops"] for part in parts),
  }
  if any("bound_s" not in part for part in parts):
    return facts
  bound_s = sum(part["bound_s"] for part in parts)
  rate = chip.peak_flops * row["num_devices"]
  return facts | {
    "bound_s": bound_s,
    "binds": max(parts, key=lambda part: part["bound_s"])["binds"],
    "mfu": row["model_flops"] / rate / bound_s,
    "tokens_per_s": row["tokens"] / bound_s,
  }


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ""
