"""A measured row: the programs of a case, run on this machine's devices.

In: a StudyCase whose topology this machine has. Out: a row as predict.py makes
it, with measured seconds and peak memory. All inputs are filled with one small
number, except for those that change how long a program takes.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.infra import chips
from kimina_jax.scale.cases import StudyCase
from kimina_jax.scale.predict import FITS, Row, row_header
from kimina_jax.scale.programs import make_case_programs
from kimina_jax.scale.specs import ProgramSpec
from kimina_jax.scale.topologies import parse_topology, topology_devices

_NUM_RUNS = 5


def measure_row(case: StudyCase) -> Row:
  """Runs each program of a case: the median of some runs after the first."""
  devices = topology_devices(parse_topology(case.topology))
  programs = make_case_programs(case, devices)
  chip = chips.by_kind(devices[0].device_kind)
  timings = {}
  for spec in programs.programs:
    make_args = _argument_maker(spec)
    with jax.set_mesh(programs.mesh):
      times = [_run(spec, make_args) for _ in range(_NUM_RUNS + 1)]
    timings[spec.name] = {
      "first_s": times[0],
      "seconds": statistics.median(times[1:]),
    }
  total_s = sum(timing["seconds"] for timing in timings.values())
  stats = devices[0].memory_stats() or {}
  return row_header(case) | {
    "kind": "measured",
    "status": FITS,
    "num_devices": len(devices),
    "chip": chip.name,
    "tokens": programs.tokens,
    "model_flops": programs.model_flops,
    "memory": {name: int(size) for name, size in programs.memory.items()},
    "sampling": programs.dispatch and programs.dispatch._asdict(),
    "peak_bytes": stats.get("peak_bytes_in_use"),
    "parts": timings,
    "seconds": total_s,
    "mfu": programs.model_flops / (chip.peak_flops * len(devices)) / total_s,
    "tokens_per_s": programs.tokens / total_s,
  }


def _run(spec: ProgramSpec, make_args: Callable[[], Any]) -> float:
  """Seconds of one run; inputs are made anew, as some are donated."""
  args = jax.block_until_ready(make_args())
  started_s = time.monotonic()
  jax.block_until_ready(spec.function(*args, **spec.options))
  return time.monotonic() - started_s


def _argument_maker(spec: ProgramSpec) -> Callable[[], list[Any]]:
  """A function that makes arguments: one segment, all slots in use, finite."""

  def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    value = 0.01 if jnp.issubdtype(leaf.dtype, jnp.floating) else 1
    return jnp.full(leaf.shape, value, leaf.dtype)

  filled = jax.jit(
    lambda: jax.tree.map(fill, spec.args),
    out_shardings=jax.tree.map(lambda leaf: leaf.format, spec.args),
  )

  def make() -> list[Any]:
    args = list(filled())
    for index, values in spec.values.items():
      where = jax.tree.map(lambda leaf: leaf.sharding, spec.args[index])
      args[index] = jax.device_put(values, where)
    return args

  return make
