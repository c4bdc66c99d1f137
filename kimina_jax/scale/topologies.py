"""Device topologies by name: "v5e:8x8", "2*v5e:16x16", "cpu:8", "here".

In: a name. Out: a Topology, and its JAX devices, which are abstract for TPU:
programs compile for them and cannot run. "here" stands for the devices of this
machine, and becomes "local-h200:1" or the like. JAX's devices are initialised
by `topology_devices` only, in a process with `process_environment`.
"""

import dataclasses
import math
import os
import re
import subprocess
import sys
from typing import Any

from kimina_jax.infra import chips
from kimina_jax.types import UsageError

HERE = "here"
_TPUS = ("v4", "v5e", "v5p", "v6e", "tpu7x")
# Chips per side at which a dim of a two-dimensional pod closes into a ring.
_FULL_SIDE = 16
# Three-dimensional pods are built of cubes of this side; whole cubes close into
# rings.
_CUBE_SIDE = 4


@dataclasses.dataclass(frozen=True)
class Topology:
  """Devices to compile for.

  Attributes:
    name: as above.
    chip: generation, see chips.by_name.
    shape: chips along each dim of a slice; of "cpu:8", (8,).
    num_slices: slices, connected by the network between hosts (DCN).
    is_local: whether they are this machine's devices, which can run programs.
  """

  name: str
  chip: str
  shape: tuple[int, ...]
  num_slices: int = 1
  is_local: bool = False

  @property
  def num_chips(self) -> int:
    return self.num_slices * math.prod(self.shape)

  @property
  def num_devices(self) -> int:
    """Devices as JAX counts them."""
    if self.is_local:
      return self.num_chips
    return self.num_chips * chips.by_name(self.chip).devices_per_chip

  @property
  def is_abstract(self) -> bool:
    """Whether programs compile for it but cannot run."""
    return self.chip in _TPUS and not self.is_local

  @property
  def wraps(self) -> tuple[bool, ...]:
    """Whether each dim closes into a ring."""
    if not self.is_abstract:
      return (False,) * len(self.shape)
    if len(self.shape) == 2:
      return tuple(size == _FULL_SIDE for size in self.shape)
    whole = all(size % _CUBE_SIDE == 0 for size in self.shape)
    return (whole,) * len(self.shape)


def parse_topology(name: str) -> Topology:
  """The topology of a name.

  Raises:
    UsageError: the name has another form, or the chip is unknown.
  """
  if name == HERE:
    return _here()
  match = re.fullmatch(r"(local-)?(?:(\d+)\*)?(\w+):(\d+(?:x\d+)*)", name)
  if not match:
    raise UsageError(
      f"topology {name!r}; spell it like v5e:8x8, v5p:4x4x8, 2*v5e:16x16 (two"
      f" slices) or cpu:8; {HERE} stands for this machine"
    )
  local, slices, chip, sizes = match.groups()
  shape = tuple(int(size) for size in sizes.split("x"))
  num_dims = chips.by_name(chip).num_dims or 1
  is_local = bool(local) or chip == "cpu"
  if not is_local and chip not in _TPUS:
    raise UsageError(
      f"topology {name!r}: programs for {chip} compile only where there is one;"
      f" on such a machine use --topology={HERE}"
    )
  if 0 in shape or len(shape) != (1 if is_local else num_dims):
    raise UsageError(
      f"topology {name!r}: {chip} has {num_dims} dims, not {len(shape)}"
    )
  if slices and is_local:
    raise UsageError(f"topology {name!r} has no slices: leave out {slices}*")
  return Topology(name, chip, shape, int(slices or 1), is_local)


def _here() -> Topology:
  """This machine's devices, found by a subprocess, which releases them."""
  found = subprocess.run(
    [sys.executable, "-c", _COUNT_DEVICES],
    capture_output=True,
    text=True,
    check=False,
  )
  if found.returncode:
    raise UsageError(f"JAX finds no devices here: {found.stderr[-300:]}")
  count, kind = found.stdout.splitlines()[-1].split(" ", 1)
  chip = chips.by_kind(kind).name
  prefix = "" if chip == "cpu" else "local-"
  return parse_topology(f"{prefix}{chip}:{count}")


_COUNT_DEVICES = (
  "import jax; print(jax.device_count(), jax.devices()[0].device_kind)"
)


def process_environment(topology: Topology) -> dict[str, str]:
  """Environment variables that a process needs before JAX starts."""
  if topology.is_local and topology.chip != "cpu":
    return {}
  count = topology.shape[0] if topology.chip == "cpu" else 1
  flags = os.environ.get("XLA_FLAGS", "")
  kept = [f for f in flags.split() if "host_platform_device_count" not in f]
  kept.append(f"--xla_force_host_platform_device_count={count}")
  return {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": " ".join(kept),
    # libtpu: no metadata server, and no lock against other processes.
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
  }


def topology_devices(topology: Topology) -> list[Any]:
  """The JAX devices; needs `process_environment`."""
  import jax
  from jax.experimental import topologies

  if topology.is_local:
    return jax.devices()
  # The compiler takes three dims; the third of a two-dimensional pod is 1.
  wraps = (*topology.wraps, False, False)[:3]
  options: dict[str, Any] = {"wrap": wraps} if any(wraps) else {}
  if topology.num_slices > 1:
    options["num_slices"] = topology.num_slices
  if topology.chip == "v4":
    options["chip_config_name"] = "megacore"
  shape = "x".join(map(str, topology.shape))
  return topologies.get_topology_desc(
    topology_name=f"{topology.chip}:{shape}", platform="tpu", **options
  ).devices
