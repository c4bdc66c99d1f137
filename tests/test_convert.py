"""The converter as a user runs it: round trips, refusals, interruptions."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from kimina_jax import convert
from kimina_jax.infra.checkpoint import restore_params
from kimina_jax.model import hf, params
from kimina_jax.model.config import ModelConfig, model_config, to_hf
from kimina_jax.types import UsageError


def _config(dtype="float32") -> ModelConfig:
  debug = model_config(
    name="debug", param_dtype=dtype, compute_dtype="float32", remat="none"
  )
  return dataclasses.replace(debug, model_dim=12, vocab_size=17, ffn_dim=9)


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
  """A Hugging Face directory in bfloat16, in several shards."""
  directory = tmp_path / "source"
  directory.mkdir()
  _write_source(directory, _config("bfloat16"))
  return directory


def _write_source(directory: pathlib.Path, config: ModelConfig):
  rng = np.random.default_rng(0)
  weights = jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype),
    params.abstract_params(config),
  )
  hf.save_params(weights, config, directory, shard_bytes=9000)
  (directory / "config.json").write_text(json.dumps(to_hf(config)))
  (directory / "tokenizer.json").write_text('{"fake": "tokenizer"}')
  (directory / "README.md").write_text("stays behind")
  return weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_there_and_back_is_bit_exact(tmp_path, dtype):
  source, there, back = (tmp_path / name for name in ("a", "b", "c"))
  source.mkdir()
  _write_source(source, _config(dtype))
  convert.from_hf(source, there)
  convert.to_hf(there, back, shard_gib=9000 / 2**30)
  names = {path.name for path in source.iterdir()} - {"README.md"}
  assert {path.name for path in back.iterdir()} == names
  for name in names:
    assert (back / name).read_bytes() == (source / name).read_bytes(), name


def test_from_hf_writes_what_a_run_restores(tmp_path, source):
  convert.from_hf(source, tmp_path / "model")
  assert sorted(x.name for x in (tmp_path / "model").iterdir()) == [
    *("model", "params")
  ]
  config = _config("float32")
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = jax.tree.map(
    lambda leaf: leaf.update(sharding=one), params.abstract_params(config)
  )
  restored = restore_params(tmp_path / "model", wanted)
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float32)),
    restored,
    hf.load_params(source, config),
  )


def test_to_hf_reads_the_newest_checkpoint_of_a_run(tmp_path):
  config = _config()
  (tmp_path / "run" / "model").mkdir(parents=True)
  (tmp_path / "run" / "model" / "config.json").write_text(
    json.dumps(to_hf(config))
  )
  for step in (3, 12):
    weights = jax.tree.map(
      lambda leaf, step=step: jnp.full(leaf.shape, step, leaf.dtype),
      params.abstract_params(config),
    )
    with ocp.StandardCheckpointer() as checkpointer:
      path = tmp_path / "run" / "checkpoints" / str(step) / "params"
      checkpointer.save(path, weights)
  convert.to_hf(tmp_path / "run", tmp_path / "out", shard_gib=1.0)
  tensors = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
  assert {float(x.min()) for x in tensors.values()} == {12.0}
  assert {x.dtype for x in tensors.values()} == {np.dtype(np.float32)}


def test_config_tells_the_true_dtype(tmp_path, source):
  raw = json.loads((source / "config.json").read_text())
  (source / "config.json").write_text(json.dumps(raw | {"dtype": "float32"}))
  convert.from_hf(source, tmp_path / "model")
  raw = json.loads((tmp_path / "model" / "model" / "config.json").read_text())
  assert raw["dtype"] == "bfloat16"
  convert.to_hf(tmp_path / "model", tmp_path / "out", shard_gib=1.0)
  tensors = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
  assert {x.dtype for x in tensors.values()} == {np.dtype(ml_dtypes.bfloat16)}


def test_what_exists_is_not_overwritten(tmp_path, source):
  (tmp_path / "taken").mkdir()
  (tmp_path / "taken" / "note").write_text("mine")
  for call in (
    lambda: convert.from_hf(source, tmp_path / "taken"),
    lambda: convert.from_hf(source, tmp_path / "taken" / "note"),
  ):
    with pytest.raises(UsageError, match="not empty"):
      call()
  assert (tmp_path / "taken" / "note").read_text() == "mine"
  (tmp_path / "empty").mkdir()
  convert.from_hf(source, tmp_path / "empty")
  assert (tmp_path / "empty" / "params").is_dir()


def test_failure_leaves_nothing(tmp_path, source):
  shard = sorted(source.glob("*.safetensors"))[-1]
  shard.write_bytes(shard.read_bytes()[:-1])
  with pytest.raises(UsageError, match="truncated"):
    convert.from_hf(source, tmp_path / "model")
  assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_interruption_leaves_nothing_that_loads(tmp_path, source, monkeypatch):
  """Killed once the weights are written: no finally clause, no clean-up."""

  class Killed(BaseException):
    pass

  def die(*_):
    raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, "rename", die)
    patch.setattr(convert.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(Killed):
      convert.from_hf(source, tmp_path / "model")
  assert not (tmp_path / "model").exists()
  with pytest.raises(UsageError):
    convert.to_hf(tmp_path / "model", tmp_path / "out", shard_gib=1.0)
  convert.from_hf(source, tmp_path / "model")
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"source", "model"}


def test_storage_failure_is_one_error(tmp_path, source, monkeypatch):
  def full(*_, **__):
    raise ValueError("No space left on device [os_error_code='28']")

  monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
  with pytest.raises(UsageError, match="No space left"):
    convert.from_hf(source, tmp_path / "model")
  assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_source_without_or_with_a_broken_config(tmp_path, source):
  (source / "config.json").write_text('{"model_type":')
  with pytest.raises(UsageError, match="not JSON"):
    convert.from_hf(source, tmp_path / "model")
  (source / "config.json").unlink()
  with pytest.raises(UsageError, match="config.json"):
    convert.from_hf(source, tmp_path / "model")


def test_command_line(tmp_path, source):
  """One process each: success, and one line for a user's mistake."""
  good = _run("from-hf", source, tmp_path / "model")
  assert good.returncode == 0, good.stderr
  assert (tmp_path / "model" / "params").is_dir()
  bad = _run("from-hf", source, tmp_path / "model")
  assert bad.returncode == 1
  assert "error: " in bad.stderr and "not empty" in bad.stderr
  assert "Traceback" not in bad.stderr


def _run(*arguments) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "kimina_jax.convert", *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=120,
  )
