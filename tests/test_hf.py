"""safetensors <-> params: bit for bit, and every fault named at once."""

import dataclasses
import json
import os

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from plain_settings import model_settings

from benchmarks.hf_params import load_params, save_params
from kimina_jax.model import hf_weights
from kimina_jax.model.config import ModelConfig, model_config
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.types import UsageError

INDEX = "model.safetensors.index.json"


def _config(**changes) -> ModelConfig:
  debug = model_config(model_settings())
  sizes = {
    **{"model_dim": 10, "num_layers": 2, "head_dim": 6, "ffn_dim": 7},
    "vocab_size": 13,
  }
  return dataclasses.replace(debug, **(sizes | changes))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard_bytes", [1500, 10**9])
def test_round_trip_is_bit_exact(tmp_path, dtype, tied, shard_bytes):
  config = _config(tied=tied)
  want = _write(tmp_path, config, dtype)
  params = load_params(tmp_path, config)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(dtype)}
  (tmp_path / "out").mkdir()
  save_params(params, config, tmp_path / "out", shard_bytes=shard_bytes)
  got = {}
  files = sorted((tmp_path / "out").glob("*.safetensors"))
  for path in files:
    part = safetensors.numpy.load_file(path)
    assert not got.keys() & part.keys()
    largest = max(x.nbytes for x in part.values())
    assert sum(x.nbytes for x in part.values()) <= max(shard_bytes, largest)
    got |= part
  _expect_equal_bits(got, want)
  assert (len(files) > 1) == (shard_bytes == 1500)
  assert (tmp_path / "out" / INDEX).exists() == (len(files) > 1)
  _expect_equal_trees(load_params(tmp_path / "out", config), params)


def test_layouts_follow_the_letters(tmp_path):
  """One entry of each kernel, found by hand in Hugging Face's matrices."""
  config = _config()
  tensors = _write(tmp_path, config, np.float32)
  attention = load_params(tmp_path, config)["layers"]["attention"]
  layer, d, n, k, h = 1, 4, 3, 1, 5
  prefix = f"model.layers.{layer}.self_attn"
  q = tensors[f"{prefix}.q_proj.weight"]
  assert attention["q_DNH"][layer, d, n, h] == q[n * 6 + h, d]
  v = tensors[f"{prefix}.v_proj.bias"]
  assert attention["v_bias_KH"][layer, k, h] == v[k * 6 + h]
  o = tensors[f"{prefix}.o_proj.weight"]
  assert attention["o_NHD"][layer, n, h, d] == o[d, n * 6 + h]


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_what_is_saved(tmp_path, tied):
  config = _config(tied=tied)
  torch.manual_seed(0)
  model = transformers.Qwen2ForCausalLM(
    transformers.Qwen2Config(**config_to_hf(config))
  ).eval()
  model.save_pretrained(tmp_path / "src")
  params = load_params(tmp_path / "src", config)
  (tmp_path / "out").mkdir()
  save_params(params, config, tmp_path / "out", shard_bytes=2000)
  (tmp_path / "out" / "config.json").write_text(
    json.dumps(config_to_hf(config))
  )
  again = transformers.Qwen2ForCausalLM.from_pretrained(tmp_path / "out")
  tokens = torch.arange(12)[None]
  with torch.no_grad():
    assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_all_faults_in_one_error(tmp_path):
  config = _config()
  tensors = _write(tmp_path, config, np.float32)
  del tensors["model.norm.weight"]
  del tensors["model.layers.1.mlp.up_proj.weight"]
  tensors["lm_head.weight"] = np.zeros((13, 10), np.float32)
  tensors["model.layers.0.mlp.down_proj.weight"] = np.zeros((7, 10), np.float32)
  safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
  with pytest.raises(UsageError) as error:
    load_params(tmp_path, config)
  faults = str(error.value).splitlines()[1:]
  assert sorted(line.strip() for line in faults) == [
    "lm_head.weight differs from model.embed_tokens.weight: set"
    " tie_word_embeddings to false",
    "missing model.layers.1.mlp.up_proj.weight",
    "missing model.norm.weight",
    "model.layers.0.mlp.down_proj.weight has shape (7, 10), not (10, 7)",
    "unexpected lm_head.weight",
  ]


def test_untied_model_needs_its_unembedding(tmp_path):
  _write(tmp_path, _config(tied=True), np.float32)
  with pytest.raises(UsageError, match="missing lm_head.weight"):
    load_params(tmp_path, _config(tied=False))


@pytest.mark.parametrize("dtypes", [("F16",), ("BF16", "F32")])
def test_dtypes_that_cannot_be_kept(tmp_path, dtypes):
  config = _config()
  tensors = _write(tmp_path, config, np.float32)
  if dtypes == ("F16",):
    tensors = {name: x.astype(np.float16) for name, x in tensors.items()}
  else:
    name = "model.norm.weight"
    tensors[name] = tensors[name].astype(ml_dtypes.bfloat16)
  safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
  with pytest.raises(UsageError) as error:
    load_params(tmp_path, config)
  assert str(sorted(dtypes)) in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_truncated_file(tmp_path, keep):
  config = _config()
  _write(tmp_path, config, np.float32)
  path = tmp_path / "model.safetensors"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(UsageError, match="truncated or damaged"):
    load_params(tmp_path, config)


def test_missing_shard_and_damaged_index(tmp_path):
  config = _config()
  _write(tmp_path, config, np.float32)
  params = load_params(tmp_path, config)
  out = tmp_path / "out"
  out.mkdir()
  save_params(params, config, out, shard_bytes=2000)
  shard = sorted(out.glob("*.safetensors"))[1]
  shard.rename(out / "elsewhere")
  with pytest.raises(UsageError, match=shard.name):
    load_params(out, config)
  (out / INDEX).write_text('{"weight_map": {')
  with pytest.raises(UsageError, match="damaged"):
    load_params(out, config)


@pytest.mark.parametrize("max_bytes", [1, 300, 10**6])
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_cells_cover_each_value_once(chunk, max_bytes):
  """Whole chunks, none twice, and not above the size but for one chunk."""
  for leaf in hf_weights.named_declarations(_config()).values():
    chunks = [min(chunk, size) for size in leaf.shape]
    seen = np.zeros(leaf.shape, int)
    for region in hf_weights.leaf_regions(leaf, chunks, 4, max_bytes):
      assert seen[region].nbytes // 2 <= max(max_bytes, 4 * np.prod(chunks))
      assert all(
        part.start % size == 0
        for part, size in zip(region, chunks, strict=True)
      )
      seen[region] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("max_bytes", [1, 100, 500, 10**6])
def test_a_block_is_one_stretch_of_the_file(tmp_path, max_bytes, monkeypatch):
  config = _config()
  _write(tmp_path, config, np.float32)
  reads = []
  preadv = os.preadv

  def count(file, buffers, offset):
    reads.append(offset)
    return preadv(file, buffers, offset)

  with hf_weights.open_weights(tmp_path, config) as tensors:
    monkeypatch.setattr(os, "preadv", count)
    for leaf in hf_weights.named_declarations(config).values():
      block = hf_weights.block_shape(leaf, 4, max_bytes)
      region = tuple(slice(0, size) for size in block)
      reads.clear()
      found = hf_weights.read_leaf(tensors, leaf, region)
      assert found.shape == block
      assert len(reads) == 1
      assert leaf.dims[0] != "L" or block[0] == 1


def test_any_region_is_read_and_written_where_it_lies(tmp_path):
  """Against the same region of the whole, for random regions."""
  config = _config()
  _write(tmp_path, config, np.float32)
  whole = load_params(tmp_path, config)
  rng = np.random.default_rng(0)
  (tmp_path / "out").mkdir()
  names = hf_weights.named_declarations(config)
  with (
    hf_weights.open_weights(tmp_path, config) as tensors,
    hf_weights.create_weights(
      tmp_path / "out", config, dtype=np.dtype(np.float32), shard_bytes=1500
    ) as out,
  ):
    for (name, leaf), want in zip(
      names.items(), jax.tree.leaves(whole), strict=True
    ):
      for _ in range(20):
        ends = [sorted(rng.choice(n + 1, 2, replace=False)) for n in leaf.shape]
        region = tuple(slice(int(a), int(b)) for a, b in ends)
        found = hf_weights.read_leaf(tensors, leaf, region)
        np.testing.assert_array_equal(found, want[region], err_msg=name)
      for region in hf_weights.leaf_regions(
        leaf, [2] * len(leaf.shape), 4, 200
      ):
        hf_weights.write_leaf(
          out, leaf, region, hf_weights.read_leaf(tensors, leaf, region)
        )
  _expect_equal_trees(load_params(tmp_path / "out", config), whole)


def test_header_that_does_not_fit_its_values(tmp_path):
  config = _config()
  tensors = _write(tmp_path, config, np.float32)
  path = tmp_path / "model.safetensors"
  good = path.read_bytes()
  length = int.from_bytes(good[:8], "little")
  header = json.loads(good[8 : 8 + length])
  name = "model.norm.weight"
  start, stop = header[name]["data_offsets"]
  for entry in (
    {"data_offsets": [start, stop - 4]},
    {"data_offsets": [start - 4, stop - 4]},
    {"shape": [tensors[name].size + 1]},
    {"shape": None},
  ):
    text = json.dumps(header | {name: header[name] | entry}).encode()
    path.write_bytes(
      len(text).to_bytes(8, "little") + text + good[8 + length :]
    )
    with pytest.raises(UsageError, match="truncated or damaged"):
      load_params(tmp_path, config)


def test_directory_without_weights(tmp_path):
  with pytest.raises(UsageError, match="no weights"):
    load_params(tmp_path, _config())


def _write(directory, config, dtype) -> dict[str, np.ndarray]:
  """A checkpoint with the names and shapes that transformers gives it."""
  with torch.device("meta"):
    model = transformers.Qwen2ForCausalLM(
      transformers.Qwen2Config(**config_to_hf(config))
    )
  rng = np.random.default_rng(0)
  tensors = {
    name: rng.standard_normal(tuple(x.shape)).astype(dtype)
    for name, x in model.named_parameters()
  }
  safetensors.numpy.save_file(tensors, directory / "model.safetensors")
  return tensors


def _expect_equal_bits(got, want):
  assert got.keys() == want.keys()
  for name in want:
    assert got[name].dtype == want[name].dtype
    assert got[name].shape == want[name].shape
    assert got[name].tobytes() == want[name].tobytes()


def _expect_equal_trees(got, want):
  jax.tree.map(np.testing.assert_array_equal, got, want)
