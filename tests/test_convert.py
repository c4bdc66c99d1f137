"""The converter as a user runs it: round trips, refusals, interruptions."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
from plain_settings import model_settings

from benchmarks.hf_params import load_params, save_params
from kimina_jax.convert import conversion as convert
from kimina_jax.convert.verify import verify
from kimina_jax.infra.arrays import local_path
from kimina_jax.infra.checkpoint import (
  Checkpointer,
  CheckpointSettings,
  restore_params,
)
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model import params
from kimina_jax.model.config import ModelConfig, model_config
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.types import UsageError


def _config(dtype="float32") -> ModelConfig:
  debug = model_config(model_settings(param_dtype=dtype))
  return dataclasses.replace(debug, model_dim=12, vocab_size=17, ffn_dim=9)


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
  """A Hugging Face directory in bfloat16, in several shards."""
  directory = tmp_path / "source"
  directory.mkdir()
  _write_source(directory, _config("bfloat16"))
  return directory


def _write_source(directory: pathlib.Path, config: ModelConfig, seed: int = 0):
  rng = np.random.default_rng(seed)
  weights = jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype),
    params.abstract_params(config),
  )
  save_params(weights, config, directory, shard_bytes=9000)
  (directory / "config.json").write_text(json.dumps(config_to_hf(config)))
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
    load_params(source, config),
  )


def test_to_hf_reads_the_newest_checkpoint_of_a_run(tmp_path):
  config = _config()
  (tmp_path / "run" / "model").mkdir(parents=True)
  (tmp_path / "run" / "model" / "config.json").write_text(
    json.dumps(config_to_hf(config))
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


@pytest.mark.parametrize("direction", ["from-hf", "to-hf"])
def test_storage_failure_is_one_error(tmp_path, source, direction):
  """Files may not grow beyond a size, as on a disk that is full."""
  convert.from_hf(source, tmp_path / "model")
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  # The limit also kills, unless its signal is ignored; Python does ignore it.
  resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
  try:
    with pytest.raises(UsageError, match="cannot write .*out.*File too large"):
      if direction == "from-hf":
        convert.from_hf(source, tmp_path / "out")
      else:
        convert.to_hf(tmp_path / "model", tmp_path / "out", shard_gib=1.0)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"source", "model"}


def test_pieces_of_any_size_make_the_same_weights(
  tmp_path, source, monkeypatch
):
  """Chunks of a few rows, pieces of a few chunks, and one after another."""
  monkeypatch.setattr(convert, "_CHUNK_BYTES", 500)
  monkeypatch.setattr(convert, "_PIECE_BYTES", 1200)
  monkeypatch.setattr(convert, "_MAX_BYTES", 1)
  convert.from_hf(source, tmp_path / "model")
  convert.to_hf(tmp_path / "model", tmp_path / "out", shard_gib=9000 / 2**30)
  for path in source.glob("*.safetensors"):
    assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


@pytest.mark.parametrize("num_devices", [1, 4])
def test_to_hf_reads_the_chunks_of_a_sharded_run(tmp_path, num_devices):
  config = dataclasses.replace(
    _config(), model_dim=16, ffn_dim=24, vocab_size=32
  )
  mesh = make_mesh(
    MeshSettings(
      data=1, fsdp=num_devices // 2 or 1, context=1, tensor=min(num_devices, 2)
    ),
    devices=jax.devices()[:num_devices],
  )
  shardings = params.param_shardings(config, mesh, "train")
  rng = np.random.default_rng(0)
  weights = jax.tree.map(
    lambda leaf, sharding: jax.device_put(
      rng.standard_normal(leaf.shape).astype(leaf.dtype), sharding
    ),
    params.abstract_params(config),
    shardings,
  )
  run = tmp_path / "run"
  with contextlib.closing(
    Checkpointer(run, CheckpointSettings(every=1, max_to_keep=1))
  ) as checkpointer:
    checkpointer.save(1, params=weights, host={})
  (run / "model").mkdir()
  (run / "model" / "config.json").write_text(json.dumps(config_to_hf(config)))
  convert.to_hf(run, tmp_path / "out", shard_gib=1.0)
  save_params(weights, config, tmp_path, shard_bytes=2**30)
  name = "model.safetensors"
  assert (tmp_path / "out" / name).read_bytes() == (
    tmp_path / name
  ).read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_target_dtype(tmp_path, dtype):
  (tmp_path / "source").mkdir()
  other = {"float32": "bfloat16", "bfloat16": "float32"}[dtype]
  weights = _write_source(tmp_path / "source", _config(other))
  convert.from_hf(tmp_path / "source", tmp_path / "there", dtype=dtype)
  convert.to_hf(tmp_path / "there", tmp_path / "back", shard_gib=1.0)
  convert.from_hf(tmp_path / "source", tmp_path / "kept")
  convert.to_hf(tmp_path / "kept", tmp_path / "late", shard_gib=1, dtype=dtype)
  want = jax.tree.map(
    lambda x: np.asarray(jnp.asarray(x).astype(dtype)), weights
  )
  for name in ("back", "late"):
    raw = json.loads((tmp_path / name / "config.json").read_text())
    assert raw["dtype"] == dtype
    found = load_params(tmp_path / name, _config())
    jax.tree.map(np.testing.assert_array_equal, found, want)
    assert {x.dtype.name for x in jax.tree.leaves(found)} == {dtype}


def test_verify_names_what_differs(tmp_path, source, capsys):
  convert.from_hf(source, tmp_path / "same")
  convert.from_hf(source, tmp_path / "wide", dtype="float32")
  assert verify(source, tmp_path / "same") == 0
  assert verify(tmp_path / "same", tmp_path / "wide") == 0
  shutil.copytree(source, tmp_path / "other")
  for path in (tmp_path / "other").glob("*.safetensors"):
    tensors = safetensors.numpy.load_file(path)
    for name, row, value in (
      ("model.layers.2.mlp.up_proj.weight", 5, 3.0),
      ("model.norm.weight", 4, np.nan),
    ):
      if name in tensors:
        x = tensors[name].astype(np.float32)
        x[row] = x[row] + value if value == value else value
        tensors[name] = x.astype(ml_dtypes.bfloat16)
        if value == value:
          y = safetensors.numpy.load_file(path)[name].astype(np.float32)
          difference = np.abs(y - tensors[name].astype(np.float32)).max()
    safetensors.numpy.save_file(tensors, path)
  capsys.readouterr()
  assert verify(tmp_path / "other", tmp_path / "wide") == 2
  lines = capsys.readouterr().out.splitlines()
  assert (
    f"model.layers.2.mlp.up_proj.weight  largest difference {difference:.6g},"
    " 12 values differ"
  ) in lines
  assert "model.norm.weight  largest difference inf, 1 values differ" in lines
  assert "differ in 2 of" in lines[-1]


def test_verify_of_two_models(tmp_path, source, capsys):
  (tmp_path / "larger").mkdir()
  larger = dataclasses.replace(_config(), ffn_dim=10, tied=False)
  _write_source(tmp_path / "larger", larger)
  assert verify(tmp_path / "larger", source) > 4 * 3
  out = capsys.readouterr().out
  assert "lm_head.weight  is not in B" in out
  assert "mlp.up_proj.weight  has sizes {" in out


def test_verify_compares_the_configs(tmp_path, source, capsys):
  """Equal tensors, but other logits; the spelling of a key is no difference."""
  shutil.copytree(source, tmp_path / "other")
  path = tmp_path / "other" / "config.json"
  raw = json.loads(path.read_text())
  theta = raw.pop("rope_theta")
  path.write_text(json.dumps(raw | {"rope_parameters": {"rope_theta": theta}}))
  assert verify(source, tmp_path / "other") == 0
  changed = {"rope_theta": 5.0, "max_position_embeddings": 9}
  path.write_text(json.dumps(raw | changed))
  capsys.readouterr()
  assert verify(source, tmp_path / "other") == 2
  lines = capsys.readouterr().out.splitlines()
  assert f"config.json  rope_theta is {theta} in A, 5.0 in B" in lines
  assert "agree in all" in lines[-1]
  assert lines[-1].endswith("and differ in 2 keys of config.json")


def _lm_head(source, *, change):
  """Writes lm_head.weight beside the embedding, equal or not."""
  for path in source.glob("*.safetensors"):
    tensors = safetensors.numpy.load_file(path)
    if "model.embed_tokens.weight" in tensors:
      head = tensors["model.embed_tokens.weight"].copy()
      head[-1, -1] += change
      safetensors.numpy.save_file(tensors | {"lm_head.weight": head}, path)
      return path
  raise AssertionError("no embedding")


def test_a_tied_model_may_store_its_unembedding_too(tmp_path, source):
  plain = tmp_path / "plain"
  convert.from_hf(source, plain)
  path = _lm_head(source, change=0)
  convert.from_hf(source, tmp_path / "model")
  assert verify(plain, tmp_path / "model") == 0
  assert verify(source, tmp_path / "model") == 0
  index = source / "model.safetensors.index.json"
  assert path.name in index.read_text()
  _lm_head(source, change=1)
  with pytest.raises(UsageError, match="set tie_word_embeddings to false"):
    convert.from_hf(source, tmp_path / "other")


def _without_safetensors(source):
  for path in source.glob("*.safetensors*"):
    path.unlink()


def _as_pickles(source):
  _without_safetensors(source)
  (source / "pytorch_model.bin").write_bytes(b"pickle")


def _as_adapter(source):
  _without_safetensors(source)
  (source / "adapter_config.json").write_text("{}")


def _as_lfs_pointers(source):
  for path in source.glob("*.safetensors"):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid x\n")


def _as_hub_root(source):
  _without_safetensors(source)
  (source / "config.json").unlink()
  (source / "snapshots" / "1234abcd").mkdir(parents=True)


def _as_float16(source):
  raw = json.loads((source / "config.json").read_text())
  (source / "config.json").write_text(json.dumps(raw | {"dtype": "float16"}))


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_as_pickles, r"pickled weights \(pytorch_model.bin\).*save_pretrained"),
    (_as_adapter, "LoRA adapter.*merge it"),
    (_as_lfs_pointers, "Git LFS pointer.*git lfs pull"),
    (_as_hub_root, "snapshots, .*snapshots/1234abcd"),
    (_as_float16, "the weights are float16, which is not supported"),
  ],
)
def test_other_directories_say_what_to_do(tmp_path, source, damage, message):
  damage(source)
  with pytest.raises(UsageError, match=message) as caught:
    convert.from_hf(source, tmp_path / "model")
  assert "\n" not in str(caught.value)


def test_a_directory_of_the_wrong_kind_says_which_it_is(tmp_path, source):
  with pytest.raises(UsageError, match="Hugging Face directory already"):
    convert.to_hf(source, tmp_path / "out", shard_gib=1.0)
  with pytest.raises(UsageError, match="convert from-hf"):
    restore_params(source, {})


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_the_size_of_a_file_is_a_number(tmp_path, size):
  with pytest.raises(UsageError, match="--shard_gib="):
    convert.to_hf(tmp_path / "model", tmp_path / "out", shard_gib=size)


def test_remote_paths_are_refused():
  with pytest.raises(UsageError, match="gs://b/x: remote paths are not"):
    local_path("gs://b/x")


def test_a_missing_tokenizer_is_a_warning(tmp_path, source, caplog):
  (source / "tokenizer.json").unlink()
  convert.from_hf(source, tmp_path / "model")
  assert "no tokenizer files" in caplog.text


def test_two_conversions_do_not_share_a_destination(tmp_path, source):
  partial = tmp_path / ".model.partial"
  partial.mkdir()
  other = os.open(partial, os.O_RDONLY)
  fcntl.flock(other, fcntl.LOCK_EX)
  (partial / "work").write_text("of the other one")
  with pytest.raises(UsageError, match="another conversion is writing"):
    convert.from_hf(source, tmp_path / "model")
  assert (partial / "work").exists()
  os.close(other)
  convert.from_hf(source, tmp_path / "model")
  assert not partial.exists()


# Converts again and again, and kills itself at moments spread over the time
# that it takes; what is left must be nothing or the whole.
KILLED = """
import contextlib, os, pathlib, random, shutil, signal, sys, time
import jax
from kimina_jax.convert import conversion as convert
from kimina_jax.convert import verify as verification
root = pathlib.Path(sys.argv[1])

def in_child(call, kill_after_s=None):
  child = os.fork()
  if not child:
    try:
      call()
      os._exit(0)
    except BaseException as error:
      print(repr(error), flush=True)
      os._exit(1)
  if kill_after_s is not None:
    time.sleep(kill_after_s)
    os.kill(child, signal.SIGKILL)
  return os.waitpid(child, 0)[1]

def there(dst):
  return lambda: convert.from_hf(root / "source", dst)

def back(dst):
  return lambda: convert.to_hf(root / "model", dst, shard_gib=0.002)

def verify(dst):
  return lambda: os._exit(bool(verification.verify(root / "source", dst)))

random.seed(0)
for name, conversion in (("model", there), ("hf", back)):
  started_s = time.monotonic()
  assert in_child(conversion(root / name)) == 0
  took_s = time.monotonic() - started_s
  assert in_child(verify(root / name)) == 0
  killed = 0
  dst = root / f"{name}_killed"
  for moment in range(8):
    in_child(conversion(dst), (moment + random.random()) / 8 * took_s)
    if dst.exists():
      assert in_child(verify(dst)) == 0, "it exists and is not complete"
      shutil.rmtree(dst)
    else:
      killed += 1
  assert killed >= 4, killed
  assert in_child(conversion(dst)) == 0
  assert in_child(verify(dst)) == 0
  assert not list(root.glob(".*")), "a restart leaves nothing behind"
print("all is well")
"""


def test_killed_at_any_moment(tmp_path):
  config = dataclasses.replace(
    _config("bfloat16"), model_dim=256, vocab_size=4096, ffn_dim=512
  )
  (tmp_path / "source").mkdir()
  _write_source(tmp_path / "source", config)
  result = subprocess.run(
    [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)],
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert "all is well" in result.stdout, result.stdout + result.stderr


def test_source_without_or_with_a_broken_config(tmp_path, source):
  (source / "config.json").write_text('{"model_type":')
  with pytest.raises(UsageError, match="not JSON"):
    convert.from_hf(source, tmp_path / "model")
  (source / "config.json").write_text("[]")
  with pytest.raises(UsageError, match="no object"):
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
  assert "warning" not in (good.stderr + good.stdout).lower()
  assert "Traceback" not in bad.stderr
  (tmp_path / "other").mkdir()
  _write_source(tmp_path / "other", _config("bfloat16"), seed=1)
  differs = _run("verify", tmp_path / "other", tmp_path / "model")
  assert differs.returncode == 1
  assert "model.embed_tokens.weight  largest" in differs.stdout


def _run(*arguments) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "kimina_jax.convert", *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=120,
  )
