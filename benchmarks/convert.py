"""Conversion of a large model: seconds, and peak memory.

  python benchmarks/convert.py [--model=qwen2.5-7b] [--repeats=1]

Writes a model of random numbers as sharded safetensors (`--make=DIR` does
nothing else), converts it to Orbax and back, each in a process of its own, and
verifies that the result equals the source bit for bit. Peak memory is the
high-water mark of the resident set during the conversion, less the resident set
after the imports.

The baseline ("peer") is the usual code: it reads all tensors with safetensors,
stacks them and saves the tree with Orbax; and restores the tree and writes all
tensors with safetensors. It is measured on `--peer_model` in the same call, in
turns with this project, and the last line has the ratios peer / ours.
"""

import argparse
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import safetensors.numpy

from kimina_jax.convert import conversion
from kimina_jax.convert.weights import read_config
from kimina_jax.infra.stream import stream
from kimina_jax.model import hf_weights
from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.model.params import abstract_params, declarations

_PIECE_BYTES = 2**25
_SHARD_BYTES = 4 * 2**30


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--model", default="qwen2.5-0.5b")
  parser.add_argument("--peer_model", default="qwen2.5-0.5b")
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--make", help="write the model here and stop")
  parser.add_argument("--directory", help="where the files go for a while")
  parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    _child(*args.child)
  elif args.make:
    make(pathlib.Path(args.make), args.model)
  else:
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
      _compare(args, pathlib.Path(directory))


def make(directory: pathlib.Path, name: str) -> None:
  """Writes a Hugging Face directory of random numbers in bfloat16."""
  config = _config(name)
  directory.mkdir(parents=True)
  (directory / "config.json").write_text(json.dumps(config_to_hf(config)))
  leaves = hf_weights.named_declarations(config)
  with hf_weights.create_weights(
    directory,
    config,
    dtype=np.dtype(ml_dtypes.bfloat16),
    shard_bytes=_SHARD_BYTES,
  ) as tensors:
    regions = [
      (name, region)
      for name, leaf in leaves.items()
      for region in hf_weights.leaf_regions(
        leaf, hf_weights.block_shape(leaf, 2, _PIECE_BYTES), 2, _PIECE_BYTES
      )
    ]

    def draw(piece):
      seed, (name, region) = piece
      rng = np.random.default_rng(seed)
      shape = [part.stop - part.start for part in region]
      values = rng.standard_normal(shape, np.float32) * np.float32(0.02)
      hf_weights.write_leaf(
        tensors, leaves[name], region, values.astype(ml_dtypes.bfloat16)
      )

    pieces = [
      (piece, 2 * math.prod(part.stop - part.start for part in piece[1][1]))
      for piece in enumerate(regions)
    ]
    for _ in stream(draw, pieces, title="drawn", max_bytes=2**28):
      pass


def _compare(args: argparse.Namespace, directory: pathlib.Path) -> None:
  small = directory / "small"
  make(small, args.peer_model)
  runs = {side: [] for side in ("ours", "peer")}
  for _ in range(args.repeats):
    for side, results in runs.items():
      results.append(_round_trip(side, small))
  best = {
    side: {key: min(run[key] for run in results) for key in results[0]}
    for side, results in runs.items()
  }
  for side, result in best.items():
    _show(f"{args.peer_model}, {side}", result)
  ratios = {
    key: round(best["peer"][key] / value, 3)
    for key, value in best["ours"].items()
  }
  line = {"benchmark": "convert", "ratios": ratios, "peer_model": best}
  shutil.rmtree(small)
  if args.model != args.peer_model:
    make(directory / "large", args.model)
    line["model"] = _round_trip("ours", directory / "large")
    _show(f"{args.model}, ours", line["model"])
  print(json.dumps(line | {"names": [args.model, args.peer_model]}))


def _round_trip(side: str, source: pathlib.Path) -> dict[str, float]:
  there, back = source.with_name("there"), source.with_name("back")
  result = _measure(f"{side}_from_hf", source, there)
  result |= _measure(f"{side}_to_hf", there, back)
  verified = subprocess.run(
    [sys.executable, "-m", "kimina_jax.convert", "verify", source, back],
    stdout=subprocess.DEVNULL,
  )
  if verified.returncode:
    raise SystemExit(f"{side}: {back} differs from {source}")
  shutil.rmtree(there)
  shutil.rmtree(back)
  return result


def _measure(
  conversion: str, src: pathlib.Path, dst: pathlib.Path
) -> dict[str, float]:
  child = subprocess.run(
    [sys.executable, __file__, "--child", conversion, src, dst],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  direction = conversion.split("_", 1)[1]
  numbers = json.loads(child.stdout.splitlines()[-1])
  return {f"{direction}_{key}": value for key, value in numbers.items()}


def _child(conversion: str, src: str, dst: str) -> None:
  """One conversion; prints its seconds and GiB."""
  jax.config.update("jax_platforms", "cpu")
  before_kib = _status_kib("VmRSS")
  # Resets peak RSS (VmHWM).
  pathlib.Path("/proc/self/clear_refs").write_text("5")
  started_s = time.perf_counter()
  _CONVERSIONS[conversion](pathlib.Path(src), pathlib.Path(dst))
  seconds = time.perf_counter() - started_s
  peak_gib = (_status_kib("VmHWM") - before_kib) / 2**20
  print(json.dumps({"s": round(seconds, 2), "peak_gib": round(peak_gib, 3)}))


def _ours_to_hf(src: pathlib.Path, dst: pathlib.Path) -> None:
  conversion.to_hf(src, dst, shard_gib=_SHARD_BYTES / 2**30)


def _peer_from_hf(src: pathlib.Path, dst: pathlib.Path) -> None:
  tensors = {}
  for path in src.glob("*.safetensors"):
    tensors |= safetensors.numpy.load_file(path)

  def stack(leaf):
    axes, order, sizes = _layout(leaf)
    del axes
    parts = [
      tensors[name].reshape(sizes).transpose(order)
      for name in hf_weights.tensor_names(leaf)
    ]
    return np.stack(parts) if leaf.dims.startswith("L") else parts[0]

  params = jax.tree.map(stack, declarations(read_config(src)[0]))
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(dst.absolute() / "params", params)
  (dst / "model").mkdir()
  shutil.copy(src / "config.json", dst / "model")


def _peer_to_hf(src: pathlib.Path, dst: pathlib.Path) -> None:
  config = read_config(src / "model")[0]
  cpu = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = jax.tree.map(
    lambda leaf: leaf.update(sharding=cpu), abstract_params(config)
  )
  with ocp.StandardCheckpointer() as checkpointer:
    params = checkpointer.restore(src.absolute() / "params", wanted)
  tensors = {}

  def unstack(leaf, array):
    axes, _, sizes = _layout(leaf)
    array = np.asarray(array)
    for name, part in zip(
      hf_weights.tensor_names(leaf),
      array if leaf.dims.startswith("L") else array[None],
      strict=True,
    ):
      shape = _merged(leaf, sizes)
      part = part.transpose(axes).reshape(shape)
      tensors[name] = np.ascontiguousarray(part)

  jax.tree.map(unstack, declarations(config), params)
  dst.mkdir()
  safetensors.numpy.save_file(tensors, dst / "model.safetensors")
  shutil.copy(src / "model" / "config.json", dst)


def _layout(leaf):
  """Axes to Hugging Face's order, axes back, and sizes, dims not merged."""
  ours = leaf.dims.removeprefix("L")
  theirs = re.sub(r"[()]", "", leaf.hf_dims)
  sizes = dict(zip(leaf.dims, leaf.shape, strict=True))
  axes = [ours.index(dim) for dim in theirs]
  return axes, [theirs.index(dim) for dim in ours], [sizes[d] for d in theirs]


def _merged(leaf, sizes: list[int]) -> list[int]:
  sizes, shape = list(sizes), []
  for group in re.findall(r"\w+(?=\))|\w", leaf.hf_dims):
    shape.append(int(np.prod([sizes.pop(0) for _ in group])))
  return shape


def _config(name: str) -> ModelConfig:
  settings = ModelSettings(
    name=name,
    param_dtype="bfloat16",
    compute_dtype="bfloat16",
    remat="none",
    attention="auto",
    yarn_factor=1.0,
  )
  return model_config(settings)


def _status_kib(key: str) -> int:
  text = pathlib.Path("/proc/self/status").read_text()
  return int(re.search(rf"{key}:\s+(\d+) kB", text).group(1))


def _show(side: str, result: dict[str, float]) -> None:
  print(
    f"{side}: from-hf {result['from_hf_s']:.1f} s,"
    f" {result['from_hf_peak_gib']:.2f} GiB; to-hf {result['to_hf_s']:.1f} s,"
    f" {result['to_hf_peak_gib']:.2f} GiB",
    flush=True,
  )


_CONVERSIONS = {
  "ours_from_hf": conversion.from_hf,
  "ours_to_hf": _ours_to_hf,
  "peer_from_hf": _peer_from_hf,
  "peer_to_hf": _peer_to_hf,
}

if __name__ == "__main__":
  main()
