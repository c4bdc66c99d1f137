"""Chip specifications of TPU and GPU generations.

In: a name as in a topology ("v5e"), or a device's `device_kind`. Out: a Chip.
Never accesses a device.

Peaks are the vendors', dense bfloat16. Links are those of the JAX scaling book
(jax-ml.github.io/scaling-book). The network between slices is assumed to have
25 GB/s per host; that of a cluster may be faster.
"""

import dataclasses

from kimina_jax.types import UsageError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """Specification of one device, as JAX counts devices.

  Attributes:
    name: generation.
    kind: beginning of jax.Device.device_kind.
    peak_flops: per second, bfloat16 with float32 sums.
    hbm_bytes: memory that a program can use; a little less than is built in.
    hbm_bytes_per_s: memory bandwidth, reads and writes together.
    link_bytes_per_s: of one interconnect link, one way; 0 if not modelled.
    network_bytes_per_s: between slices, per device and way.
    num_dims: of the torus; 0 without one.
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
  # Two cores of a few GHz, so that tests on a CPU have a bound.
  Chip("cpu", "cpu", 100e9, 16 * GIB, 20e9, 0, 0, 0),
)


def by_name(name: str) -> Chip:
  """The chip with this name in topologies.

  Raises:
    UsageError: there is no such chip in the table above.
  """
  for chip in _CHIPS:
    if chip.name == name:
      return chip
  names = ", ".join(chip.name for chip in _CHIPS)
  raise UsageError(f"no specification of the chip {name!r}; known are {names}")


def by_kind(kind: str) -> Chip:
  """The chip of a device's `device_kind`; the longest match decides."""
  found = [chip for chip in _CHIPS if kind.startswith(chip.kind)]
  if not found:
    raise UsageError(
      f"no specification of devices of kind {kind!r}; add one to infra/chips.py"
    )
  return max(found, key=lambda chip: len(chip.kind))
