"""Letters to mesh axes, and mesh sizes against devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from kimina_jax.infra import mesh as meshes
from kimina_jax.types import UsageError


def _mesh(*sizes, **options):
  settings = meshes.MeshSettings(**dict(zip(meshes.AXES, sizes, strict=True)))
  return meshes.make_mesh(settings, **options)


def test_axes_and_sizes():
  mesh = _mesh(2, 1, 2, 2)
  assert mesh.axis_names == ("data", "fsdp", "context", "tensor")
  assert dict(mesh.shape) == {"data": 2, "fsdp": 1, "context": 2, "tensor": 2}
  assert set(mesh.axis_types) == {AxisType.Auto}
  assert set(mesh.devices.flat) == set(jax.devices())


@pytest.mark.parametrize(
  "sizes, filled",
  [
    ((1, -1, 1, 1), (1, 8, 1, 1)),
    ((2, 2, 1, -1), (2, 2, 1, 2)),
    ((-1, 2, 4, 1), (1, 2, 4, 1)),
  ],
)
def test_minus_one_takes_the_rest(sizes, filled):
  assert tuple(_mesh(*sizes).shape.values()) == filled


def test_given_devices_only():
  devices = jax.devices()[2:4]
  mesh = _mesh(1, -1, 1, 1, devices=devices)
  assert list(mesh.devices.flat) == devices


@pytest.mark.parametrize(
  "sizes, words",
  [
    ((3, 1, 1, 1), ("data=3", "3 devices", "there are 8")),
    ((2, 2, 1, 1), ("4 devices", "there are 8")),
    ((3, -1, 1, 1), ("3", "8")),
    ((-1, -1, 1, 1), ("at most one",)),
    ((1, 0, 1, 1), ("fsdp=0", "1 or more")),
    ((1, -2, 1, 1), ("fsdp=-2",)),
  ],
)
def test_sizes_that_do_not_fit(sizes, words):
  with pytest.raises(UsageError) as error:
    _mesh(*sizes)
  assert all(word in str(error.value) for word in words)


@dataclasses.dataclass(frozen=True)
class _FakeChip:
  """The attributes of a TPU v5e chip that make_mesh reads."""

  id: int
  slice_index: int
  coords: tuple[int, int, int]
  platform: str = "tpu"
  device_kind: str = "TPU v5 lite"
  core_on_chip: int = 0
  process_index: int = 0
  num_cores: int = 1


def _slices(num_slices):
  """Slices of 2 × 2 chips."""
  return [
    _FakeChip(4 * s + 2 * y + x, s, (x, y, 0))
    for s in range(num_slices)
    for y in range(2)
    for x in range(2)
  ]


@pytest.mark.parametrize("sizes", [(2, 2, 1, 2), (4, -1, 1, 2), (-1, 1, 1, 1)])
def test_only_data_crosses_between_slices(sizes):
  mesh = _mesh(*sizes, devices=_slices(2))
  replicas = mesh.devices.reshape(mesh.shape["data"], -1)
  slices = [{chip.slice_index for chip in replica} for replica in replicas]
  half = len(slices) // 2
  assert slices == [{0}] * half + [{1}] * half


def test_slices_that_do_not_divide_data():
  with pytest.raises(UsageError) as error:
    _mesh(1, 4, 1, 2, devices=_slices(2))
  assert "data=1" in str(error.value) and "2 slices" in str(error.value)


def test_axes_may_split_those_of_the_chips():
  chips = [
    _FakeChip(4 * y + x, 0, (x, y, 0)) for y in range(4) for x in range(4)
  ]
  mesh = _mesh(1, 8, 1, 2, devices=chips)
  assert set(mesh.devices.flat) == set(chips)
  for pair in mesh.devices.reshape(8, 2):
    (x0, y0, _), (x1, y1, _) = (chip.coords for chip in pair)
    assert abs(x0 - x1) + abs(y0 - y1) == 1


def test_spec_reads_the_tables():
  train, decode = (meshes.ACTIVATIONS[x] for x in ("train", "decode"))
  assert meshes.spec("BTD", train) == P(("data", "fsdp"), "context", None)
  assert meshes.spec("BTD", decode) == P(("data", "fsdp"), None, None)
  assert meshes.spec("LDNH", meshes.PARAMS["train"]) == P(
    None, ("fsdp", "context"), "tensor", None
  )
  assert meshes.spec("LDNH", meshes.PARAMS["decode"]) == P(
    None, None, "tensor", None
  )
  assert meshes.spec("", train) == P()
  found = meshes.spec("BTD", meshes.STREAMS["train"])
  assert found == P(("data", "fsdp"), ("context", "tensor"), None)


def test_layouts_know_the_same_letters():
  for tables in (meshes.PARAMS, meshes.ACTIVATIONS):
    assert tables["train"].keys() == tables["decode"].keys()


@pytest.mark.parametrize("dims", ["BB", "NK", "BTNF"])
def test_two_dims_on_one_axis_collide(dims):
  with pytest.raises(ValueError, match="share a mesh axis"):
    meshes.spec(dims, meshes.ACTIVATIONS["train"])


def test_unknown_letter():
  with pytest.raises(ValueError, match="'X'"):
    meshes.spec("BX", meshes.ACTIVATIONS["train"])


def test_sharding_places_the_pieces():
  mesh = _mesh(1, 4, 1, 2)
  x = jnp.arange(8 * 6).reshape(8, 6)
  placed = jax.device_put(
    x, meshes.sharding(mesh, "DF", meshes.PARAMS["train"])
  )
  pieces = {
    shard.device: np.asarray(shard.data) for shard in placed.addressable_shards
  }
  for (_, i, _, j), device in np.ndenumerate(mesh.devices):
    np.testing.assert_array_equal(
      pieces[device], x[2 * i : 2 * i + 2, 3 * j : 3 * j + 3]
    )


def test_constrain_pins_the_layout():
  mesh = _mesh(2, 2, 1, 2)
  table = meshes.ACTIVATIONS["train"]
  with jax.set_mesh(mesh):
    x = jax.jit(lambda: meshes.constrain(jnp.ones((4, 3, 6)), "BTF", table))()
  assert {s.data.shape for s in x.addressable_shards} == {(1, 3, 3)}


def test_constrain_needs_a_mesh_and_a_letter_per_dim():
  table = meshes.ACTIVATIONS["train"]
  with pytest.raises(RuntimeError, match="mesh"):
    meshes.constrain(jnp.ones((4, 3)), "BT", table)
  with pytest.raises(ValueError, match="'BT'"):
    meshes.constrain(jnp.ones(4), "BT", table)


def test_num_shards():
  mesh = _mesh(2, 2, 1, 2)
  table = meshes.ACTIVATIONS["train"]
  assert [meshes.num_shards(mesh, dim, table) for dim in "BTFD"] == [4, 1, 2, 1]
