"""Facts about accelerators, by generation.

In: a name as topologies spell it ("v5e") or as a device gives its kind. Out:
a Chip. Never asks a device.

Peaks are the vendors', dense bfloat16. Links are those of the JAX scaling book
(jax-ml.github.io/scaling-book); what leaves a slice is an assumption of 25 GB/s
per host, which a cluster's network may beat.
"""

import dataclasses

from kimina_jax.types import UsageError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One device as JAX counts it.

  Attributes:
    name: generation.
    kind: what jax.Device.device_kind begins with.
    peak_flops: per second, bfloat16 with float32 sums.
    hbm_bytes: what a program may use; a little less than what is built in.
    hbm_bytes_per_s: read and written.
    link_bytes_per_s: one interconnect link, one way; 0 is not modelled.
    network_bytes_per_s: between slices, per device and way.
    num_dims: of the torus; 0 is none.
    devices_per_chip: cores that JAX sees as devices of their own.
  """

  name: str
  kind: str
  peak_flops: float
  hbm_bytes: float
  hbm_bytes_per_s: float
  link_bytes_per_s: float
  network_bytes_per_s: float
  num_dims: int
  devices_per_chip: int = 1


_CHIPS = (
  Chip("v4", "TPU v4", 275e12, 30.75 * GIB, 1228e9, 45e9, 6.25e9, 3),
  Chip("v5e", "TPU v5 lite", 197e12, 15.75 * GIB, 819e9, 45e9, 3.1e9, 2),
  Chip("v5p", "TPU v5", 459e12, 95.74 * GIB, 2765e9, 90e9, 6.25e9, 3),
  Chip("v6e", "TPU v6 lite", 918e12, 31.25 * GIB, 1640e9, 90e9, 3.1e9, 2),
  # Half a chip each: 1200 GB/s over six links, both ways, for two devices.
  Chip("tpu7x", "TPU7x", 1153e12, 94.75 * GIB, 3690e9, 50e9, 3.1e9, 3, 2),
  Chip("h100", "NVIDIA H100", 990e12, 79 * GIB, 3350e9, 0, 0, 0),
  Chip("h200", "NVIDIA H200", 990e12, 139 * GIB, 4800e9, 0, 0, 0),
  # Not a machine to plan for: two cores of a few GHz, to have a number.
  Chip("cpu", "cpu", 100e9, 16 * GIB, 20e9, 0, 0, 0),
)


def by_name(name: str) -> Chip:
  """The chip of a topology's name.

  Raises:
    UsageError: nobody knows it.
  """
  for chip in _CHIPS:
    if chip.name == name:
      return chip
  names = ", ".join(chip.name for chip in _CHIPS)
  raise UsageError(f"no facts about the chip {name!r}; known are {names}")


def by_kind(kind: str) -> Chip:
  """The chip of a device's `device_kind`; the longest match decides."""
  found = [chip for chip in _CHIPS if kind.startswith(chip.kind)]
  if not found:
    raise UsageError(f"no facts about devices of kind {kind!r}; add them here")
  return max(found, key=lambda chip: len(chip.kind))
