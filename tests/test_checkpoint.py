"""Checkpoints: bit-exact, atomic, with clear errors."""

import contextlib
import resource
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from plain_settings import model_settings

from kimina_jax.infra import checkpoint
from kimina_jax.infra.arrays import open_checkpoint
from kimina_jax.infra.checkpoint import (
  Checkpointer,
  CheckpointSettings,
  restore_params,
)
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model.config import model_config
from kimina_jax.model.params import abstract_params, param_shardings
from kimina_jax.types import UsageError

KILLED_WHILE_SAVING = """
import os, signal, sys
import numpy as np
from kimina_jax.infra.checkpoint import CheckpointSettings, Checkpointer
run = sys.argv[1]
checkpointer = Checkpointer(run, CheckpointSettings(every=1, max_to_keep=3))
rng = np.random.default_rng(0)
params = {"w": rng.standard_normal(1 << 23).astype(np.float32)}
checkpointer.save(1, params=params, host={"step": 1})
checkpointer.wait()
checkpointer.save(2, params=params, host={"step": 2})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_restore_is_bit_exact_on_another_mesh(tmp_path):
  params = _params(_mesh(8))
  opt_state = _adamw().init(params)
  opt_state = jax.tree.map(lambda x: x + jnp.full((), 7.3, x.dtype), opt_state)
  host = {"curriculum": {"p": [1, 2]}, "lr": 0.1, "done": False}
  with _open(tmp_path) as checkpointer:
    checkpointer.save(3, params=params, opt_state=opt_state, host=host)
  other = jax.eval_shape(lambda: params)
  other = _with_sharding(other, NamedSharding(_mesh(2), P()))
  abstract_opt = _with_sharding(
    jax.eval_shape(_adamw().init, other), NamedSharding(_mesh(2), P())
  )
  with _open(tmp_path) as checkpointer:
    step = checkpointer.latest_step()
    found = checkpointer.restore(step, params=other, opt_state=abstract_opt)
  assert step == 3
  assert found.host == host
  _assert_same_bits(found.params, params)
  _assert_same_bits(found.opt_state, opt_state)
  assert found.params["layers"]["w_DF"].sharding.mesh.size == 2


def test_a_model_moves_from_8_to_2_to_4_devices(tmp_path):
  """Params and Adam's state, by the tables of the mesh, bit for bit."""
  config = model_config(model_settings())
  optimizer = _adamw()
  shapes = {8: (2, 2, 2), 2: (1, 1, 2), 4: (1, 4, 1)}
  abstract, saved = {}, []
  for num_devices, (data, fsdp, tensor) in shapes.items():
    mesh = make_mesh(
      MeshSettings(data=data, fsdp=fsdp, context=1, tensor=tensor),
      devices=jax.devices()[:num_devices],
    )
    abstract[num_devices] = _abstract_model(config, optimizer, mesh)
  rng = np.random.default_rng(0)
  trees = jax.tree.map(
    lambda leaf: jax.device_put(
      rng.standard_normal(leaf.shape).astype(leaf.dtype), leaf.sharding
    ),
    abstract[8],
  )
  for step, num_devices in enumerate((8, 2, 4), start=1):
    with _open(tmp_path) as checkpointer:
      if saved:
        found = checkpointer.restore(step - 1, **abstract[num_devices])
        trees = {"params": found.params, "opt_state": found.opt_state}
      checkpointer.save(step, **trees, host={})
    saved.append(trees)
    sharding = trees["params"]["layers"]["ffn"]["up_DF"].sharding
    assert sharding.mesh.size == num_devices
    assert not sharding.is_fully_replicated
  for trees in saved[1:]:
    _assert_same_bits(trees, saved[0])


def test_large_arrays_are_saved_in_chunks(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoint, "_CHUNK_BYTES", 1 << 20)
  rng = np.random.default_rng(0)
  params = {"w": jnp.asarray(rng.standard_normal((8, 256, 512), np.float32))}
  with _open(tmp_path) as checkpointer:
    checkpointer.save(1, params=params, host={})
    checkpointer.wait()
    found = checkpointer.restore(1, params=_abstract(params))
  array = open_checkpoint(tmp_path / "checkpoints" / "1" / "params", params)[
    "w"
  ]
  assert np.prod(array.chunk_layout.read_chunk.shape) * 4 <= 1 << 20
  _assert_same_bits(found.params, params)


def test_saved_values_are_those_before_the_donated_updates(tmp_path):
  update = jax.jit(
    lambda tree: jax.tree.map(lambda x: -2 * x, tree), donate_argnums=0
  )
  params = {"w": jnp.arange(1 << 20, dtype=jnp.float32)}
  host = {"draws": [1]}
  params = update(params)
  expected = -2 * np.arange(1 << 20, dtype=np.float32)
  with _open(tmp_path) as checkpointer:
    checkpointer.save(1, params=params, host=host)
    host["draws"].append(2)
    for _ in range(5):
      params = update(params)
    checkpointer.wait()
    found = checkpointer.restore(1, params=_abstract(params))
  np.testing.assert_array_equal(found.params["w"], expected)
  assert found.host == {"draws": [1]}


def test_keeps_the_newest_of_the_due_and_the_forced(tmp_path):
  params = {"w": jnp.zeros(3)}
  with _open(tmp_path, every=2, max_to_keep=2) as checkpointer:
    saved = [
      step
      for step in range(1, 8)
      if checkpointer.save(step, params=params, host={}, force=step == 7)
    ]
    again = checkpointer.save(7, params=params, host={}, force=True)
  assert saved == [2, 4, 6, 7]
  assert not again
  names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
  assert names == {"6", "7"}


def test_a_directory_without_checkpoints_has_no_latest_step(tmp_path):
  with _open(tmp_path) as checkpointer:
    assert checkpointer.latest_step() is None
  with pytest.raises(UsageError, match="no weights in .*checkpoints/"):
    restore_params(tmp_path, {})
  with pytest.raises(UsageError, match="no such directory: .*nowhere"):
    restore_params(tmp_path / "nowhere", {})


def test_killed_while_saving_leaves_the_previous_checkpoint(tmp_path):
  killed = subprocess.run(
    [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)],
    check=False,
  )
  assert killed.returncode == -signal.SIGKILL
  names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
  assert len(names) == 2 and "2" not in names  # 1 and an unfinished 2
  rng = np.random.default_rng(0)
  expected = rng.standard_normal(1 << 23).astype(np.float32)
  abstract = {"w": jnp.zeros(1 << 23)}
  with _open(tmp_path) as checkpointer:
    found = checkpointer.restore(
      checkpointer.latest_step(), params=_abstract(abstract)
    )
  np.testing.assert_array_equal(found.params["w"], expected)
  assert found.host == {"step": 1}
  assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["1"]


def test_failed_write_is_one_error_and_loses_nothing(tmp_path):
  rng = np.random.default_rng(0)
  small = {"w": rng.standard_normal(1 << 10).astype(np.float32)}
  large = {"w": rng.standard_normal(1 << 18).astype(np.float32)}
  checkpointer = Checkpointer(
    tmp_path, CheckpointSettings(every=1, max_to_keep=3)
  )
  checkpointer.save(1, params=small, host={})
  checkpointer.wait()
  with _file_size_limit(1 << 16):
    checkpointer.save(2, params=large, host={})
    with pytest.raises(UsageError, match="File too large") as caught:
      checkpointer.wait()
  assert str(tmp_path / "checkpoints") in str(caught.value)
  with _open(tmp_path) as checkpointer:
    assert checkpointer.latest_step() == 1
    found = checkpointer.restore(1, params=_abstract(small))
    assert checkpointer.save(2, params=large, host={})
  np.testing.assert_array_equal(found.params["w"], small["w"])
  restored = restore_params(tmp_path, _abstract(large))
  np.testing.assert_array_equal(restored["w"], large["w"])


def test_a_failed_save_surfaces_in_the_next_call_though_none_is_due(tmp_path):
  rng = np.random.default_rng(0)
  params = {"w": rng.standard_normal(1 << 18).astype(np.float32)}
  checkpointer = Checkpointer(
    tmp_path, CheckpointSettings(every=10, max_to_keep=3)
  )
  with _file_size_limit(1 << 16):
    checkpointer.save(10, params=params, host={})
    with pytest.raises(UsageError, match="File too large"):
      deadline = time.monotonic() + 30
      while time.monotonic() < deadline:
        assert not checkpointer.save(11, params=params, host={})


def test_an_unwritable_directory_is_a_clear_error(tmp_path):
  (tmp_path / "run").write_text("a file, not a directory")
  with pytest.raises(UsageError, match="cannot save in .*Not a directory"):
    Checkpointer(tmp_path / "run", CheckpointSettings(every=1, max_to_keep=1))


def test_differences_are_named_with_both_shapes(tmp_path):
  params = {"embed_VD": jnp.zeros((8, 4)), "old_D": jnp.zeros(4)}
  with _open(tmp_path) as checkpointer:
    checkpointer.save(1, params=params, host={})
    checkpointer.wait()
    wanted = {"embed_VD": jnp.zeros((8, 2)), "new_D": jnp.zeros(3)}
    with pytest.raises(UsageError) as caught:
      restore_params(tmp_path, _abstract(wanted))
    half = {name: x.astype(jnp.bfloat16) for name, x in params.items()}
    with pytest.raises(UsageError, match="float32.*bfloat16"):
      checkpointer.restore(1, params=_abstract(half))
    with pytest.raises(UsageError, match="no opt_state in the checkpoint"):
      checkpointer.restore(1, params=params, opt_state=params)
  lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
  assert lines == [
    "embed_VD: [8, 4] in the checkpoint, [8, 2] in this configuration",
    "new_D: absent in the checkpoint, [3] in this configuration",
    "old_D: [4] in the checkpoint, absent in this configuration",
  ]


def test_restore_params_takes_a_model_directory_and_casts(tmp_path):
  params = {"w": np.linspace(-1, 1, 1000, dtype=np.float32)}
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "params", params)
  wanted = {"w": jax.ShapeDtypeStruct((1000,), jnp.bfloat16)}
  sharding = NamedSharding(_mesh(8), P("fsdp"))
  found = restore_params(tmp_path, _with_sharding(wanted, sharding))
  assert found["w"].sharding == sharding
  np.testing.assert_array_equal(found["w"], params["w"].astype(jnp.bfloat16))


def test_restore_params_takes_the_newest_of_a_run(tmp_path):
  with _open(tmp_path) as checkpointer:
    for step in (9, 10):
      params = {"w": jnp.full(4, step)}
      checkpointer.save(step, params=params, host={})
  found = restore_params(tmp_path, _abstract(params))
  np.testing.assert_array_equal(found["w"], [10, 10, 10, 10])


def test_host_state_that_is_not_json_is_refused_at_once(tmp_path):
  with _open(tmp_path) as checkpointer:
    with pytest.raises(TypeError, match="not JSON serializable"):
      checkpointer.save(1, params={"w": jnp.zeros(3)}, host={"x": {1, 2}})
    assert checkpointer.latest_step() is None


def test_a_directory_that_is_no_checkpoint_is_a_clear_error(tmp_path):
  (tmp_path / "params").mkdir()
  with pytest.raises(UsageError, match="params is not a checkpoint"):
    restore_params(tmp_path, {})


def largest_file(path):
  files = (p for p in path.rglob("*") if p.is_file())
  return max(files, key=lambda p: p.stat().st_size)


@pytest.mark.parametrize("damage", ["torn data", "no metadata", "torn host"])
def test_a_damaged_checkpoint_names_the_newest_that_is_whole(tmp_path, damage):
  rng = np.random.default_rng(0)
  params = {"w": rng.standard_normal(1 << 12).astype(np.float32)}
  with _open(tmp_path) as checkpointer:
    for step in (1, 2, 3):
      checkpointer.save(step, params=params, opt_state=params, host={"a": 1})
  path = tmp_path / "checkpoints"
  file = largest_file(path / "2")
  file.write_bytes(file.read_bytes()[:100])
  if damage == "torn data":
    file = largest_file(path / "3")
    file.write_bytes(file.read_bytes()[:100])
  elif damage == "no metadata":
    (path / "3" / "params" / "_METADATA").unlink()
  else:
    (path / "3" / "host" / "metadata").write_text("{")
  abstract = _abstract(params)
  with _open(tmp_path) as checkpointer, pytest.raises(UsageError) as caught:
    checkpointer.restore(3, params=abstract, opt_state=abstract)
  message = str(caught.value)
  assert message.startswith(f"{path / '3'} is damaged (")
  assert message.endswith(
    f"; checkpoint 1 is intact: move {path / '3'} away, and the same command "
    "resumes from 1"
  )
  assert len(message.splitlines()) == 1
  with _open(tmp_path) as checkpointer:
    found = checkpointer.restore(1, params=abstract, opt_state=abstract)
  np.testing.assert_array_equal(found.params["w"], params["w"])


def test_damaged_weights_are_one_line(tmp_path):
  params = {"w": np.random.default_rng(0).standard_normal(1 << 12)}
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "params", params)
  file = largest_file(tmp_path / "params")
  file.write_bytes(file.read_bytes()[:100])
  with pytest.raises(UsageError, match="params is damaged .*other weights"):
    restore_params(tmp_path, _abstract(params))


FULL_DISK = """
import contextlib, resource, signal, sys
import numpy as np
from kimina_jax.infra import cli
from kimina_jax.infra.checkpoint import Checkpointer, CheckpointSettings

def main(config):
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
  rng = np.random.default_rng(0)
  params = {
    f"w{i}": rng.standard_normal(1 << 20).astype(np.float32) for i in range(8)
  }
  run = Checkpointer(config.init_from, CheckpointSettings(1, 3))
  with contextlib.closing(run):
    for step in (1, 2):
      run.save(step, params=params, host={})

cli.run(cli.Command(
  "test", main="__main__:main", summary="", example="", config="debug",
  is_experiment=True,
))
"""


def test_a_full_disk_is_one_line(tmp_path):
  done = subprocess.run(
    [*(sys.executable, "-c", FULL_DISK), f"--config.init_from={tmp_path}"],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith(f"error: cannot save in {tmp_path}/checkpoints: File")


def test_settings_out_of_range_are_refused():
  with pytest.raises(UsageError, match="checkpoint.every = 0 must be at least"):
    CheckpointSettings(every=0, max_to_keep=1)


def _abstract_model(config, optimizer, mesh):
  """Params and optimizer state as ShapeDtypeStructs on a mesh."""
  shardings = param_shardings(config, mesh, "train")
  params = jax.tree.map(
    lambda leaf, sharding: leaf.update(sharding=sharding),
    abstract_params(config),
    shardings,
  )
  opt_state = optax.tree_map_params(
    optimizer,
    lambda leaf, sharding: leaf.update(sharding=sharding),
    jax.eval_shape(optimizer.init, params),
    shardings,
    transform_non_params=lambda leaf: leaf.update(
      sharding=NamedSharding(mesh, P())
    ),
  )
  return {"params": params, "opt_state": opt_state}


def _open(path, every=1, max_to_keep=3):
  """A checkpointer that is closed, its saves complete, at the end."""
  checkpointer = Checkpointer(
    path, CheckpointSettings(every=every, max_to_keep=max_to_keep)
  )
  return contextlib.closing(checkpointer)


@contextlib.contextmanager
def _file_size_limit(num_bytes):
  """Writes beyond the limit fail, as they do on a full disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _mesh(num_devices):
  return jax.make_mesh(
    (num_devices,),
    ("fsdp",),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:num_devices],
  )


def _params(mesh):
  rng = np.random.default_rng(0)
  sharded = NamedSharding(mesh, P("fsdp"))
  bits = rng.integers(0, 2**32, (16, 24), dtype=np.uint32)
  return {
    "layers": {
      # Any bits, NaNs with payloads and denormals among them.
      "w_DF": jax.device_put(bits.view(np.float32), sharded),
      "b_F": jax.device_put(rng.standard_normal(24), NamedSharding(mesh, P())),
    },
    "embed_VD": jax.device_put(
      rng.standard_normal((32, 16)).astype(jnp.bfloat16), sharded
    ),
  }


def _adamw():
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def _abstract(tree):
  return _with_sharding(tree, NamedSharding(_mesh(1), P()))


def _with_sharding(tree, sharding):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def _assert_same_bits(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for one, other in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    assert one.dtype == other.dtype
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
