"""One row, measured: the programs of a case, run on real devices.

In: a Case whose topology is what this machine has. Out: a row like the
predicted one, with seconds and peak memory as they were. Inputs are one small
number throughout, but for those that change how long a program takes.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kimina_jax.infra import chips
from kimina_jax.scale import topologies
from kimina_jax.scale.cases import Case
from kimina_jax.scale.compiling import FITS, Row, head
from kimina_jax.scale.parts import Part
from kimina_jax.scale.programs import make_plan

_NUM_RUNS = 5


def measure_row(case: Case) -> Row:
  """Runs each part of a case; the median of a few runs after the first."""
  devices = topologies.devices(topologies.parse(case.topology))
  plan = make_plan(case, devices)
  chip = chips.by_kind(devices[0].device_kind)
  parts = {}
  for part in plan.parts:
    make_args = _maker(part)
    with jax.set_mesh(plan.mesh):
      times = [_run(part, make_args) for _ in range(_NUM_RUNS + 1)]
    parts[part.name] = {
      "first_s": times[0],
      "seconds": statistics.median(times[1:]),
    }
  total_s = sum(part["seconds"] for part in parts.values())
  stats = devices[0].memory_stats() or {}
  return head(case) | {
    "kind": "measured",
    "status": FITS,
    "num_devices": len(devices),
    "chip": chip.name,
    "tokens": plan.tokens,
    "model_flops": plan.model_flops,
    "memory": {name: int(size) for name, size in plan.memory.items()},
    "sampling": plan.sampling and plan.sampling._asdict(),
    "peak_bytes": stats.get("peak_bytes_in_use"),
    "parts": parts,
    "seconds": total_s,
    "mfu": plan.model_flops / (chip.peak_flops * len(devices)) / total_s,
    "tokens_per_s": plan.tokens / total_s,
  }


def _run(part: Part, make_args: Callable[[], Any]) -> float:
  """Seconds of one run; inputs are made anew, as some are donated."""
  args = jax.block_until_ready(make_args())
  started_s = time.monotonic()
  jax.block_until_ready(part.function(*args, **part.options))
  return time.monotonic() - started_s


def _maker(part: Part) -> Callable[[], Any]:
  """Every token is of one segment, every lane busy, every weight finite."""

  def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    value = 0.01 if jnp.issubdtype(leaf.dtype, jnp.floating) else 1
    return jnp.full(leaf.shape, value, leaf.dtype)

  filled = jax.jit(
    lambda: jax.tree.map(fill, part.args),
    out_shardings=jax.tree.map(lambda leaf: leaf.format, part.args),
  )

  def make() -> list[Any]:
    args = list(filled())
    for index, values in part.values.items():
      where = jax.tree.map(lambda leaf: leaf.sharding, part.args[index])
      args[index] = jax.device_put(values, where)
    return args

  return make
