"""Cost of a decode step: benchmarks/sampler.py --sweep and --device.

In: a model and flags. Out: rates of steady decoding, with the bytes that a step
must read (the weights once, keys and values of all slots) and the memory
bandwidth of the device.
"""

import argparse
import itertools
import json
import math
import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from decoding import make_engine, one_device, sample

from kimina_jax.model.config import ModelConfig
from kimina_jax.model.paged import cache_dtype
from kimina_jax.model.params import (
  abstract_params,
  init_params,
  param_shardings,
)
from kimina_jax.rollouts.engine import Engine

_CONTEXTS, _CONTEXT_SLOTS = (256, 512, 1024, 2048, 4096, 8192), 8
_SLOTS, _SLOTS_CONTEXT = (1, 2, 4, 8, 16, 32, 64), 512
_DISPATCHES = 12  # with all slots in use
_CHUNK_TOKENS = 4096  # many, since prefill is not measured
_READ_BYTES = 2**30


def sweep(config: ModelConfig, args: argparse.Namespace) -> None:
  """Steady decoding against context, and against slots."""
  scale = 2 if args.tiny else 1
  points = {
    "context": [(_CONTEXT_SLOTS, c // scale) for c in _CONTEXTS],
    "slots": [(b, _SLOTS_CONTEXT // scale) for b in _SLOTS],
  }
  if args.tiny:
    points = {axis: found[:3] for axis, found in points.items()}
  params = _random_params(config)
  curves = {
    axis: [_measure(config, params, args, *point) for point in found]
    for axis, found in points.items()
  }
  _report("sampler_sweep", config, args, curves)
  if args.plot:
    _plot(curves, pathlib.Path(args.plot))


def measure_device(config: ModelConfig, args: argparse.Namespace) -> None:
  """Steady decoding of one size on this machine's accelerator."""
  params = _random_params(config)
  row = _measure(config, params, args, args.num_slots, args.context)
  _report("sampler_device", config, args, {"device": [row]})


def _random_params(config: ModelConfig) -> dict[str, Any]:
  """Weights in decode layout, which on one device is any layout."""
  shardings = param_shardings(config, one_device(), "decode")
  init = jax.jit(init_params, static_argnums=1, out_shardings=shardings)
  return init(jax.random.key(0), config)


def _measure(
  config: ModelConfig,
  params: dict[str, Any],
  args: argparse.Namespace,
  num_slots: int,
  context: int,
) -> dict[str, float]:
  """A row of the table: rates while all slots decode, up to that context."""
  num_steps = args.steps_per_dispatch
  num_new = min(_DISPATCHES * num_steps, context // 2)
  lens = _staggered(num_slots, context, num_new, num_steps)
  args = argparse.Namespace(**{**vars(args), "chunk_tokens": _CHUNK_TOKENS})
  engine = make_engine(
    config,
    args,
    num_slots=num_slots,
    max_prompt_len=context - min(lens),
    max_response_len=max(lens),
  )
  rng = np.random.default_rng(0)
  prompts = [
    rng.integers(1, config.vocab_size, context - length) for length in lens
  ]
  step_s = _step_s(engine, params, prompts, lens, num_steps)
  cached = num_slots * (context - num_new / 2) * _token_bytes(config, args)
  step_bytes = _weight_bytes(config) + cached
  print(f"{num_slots} slots at {context}: {step_s * 1e3:.2f} ms", flush=True)
  return {
    "num_slots": num_slots,
    "context": context,
    "tokens_per_s": num_slots / step_s,
    "step_bytes": step_bytes,
    "bytes_per_s": step_bytes / step_s,
    "read_bytes_per_s": _read_bytes_per_s(),
  }


def _staggered(
  num_slots: int, context: int, num_new: int, num_steps: int
) -> list[int]:
  """Response lengths with which all slots end together.

  All slots decode the last num_new tokens together: prompts are prefilled a
  chunk per dispatch, while the earlier ones decode already.
  """
  starts = [
    math.ceil((slot + 1) * context / _CHUNK_TOKENS) for slot in range(num_slots)
  ]
  lens = [num_new + (starts[-1] - start) * num_steps for start in starts]
  if lens[0] >= context:
    raise ValueError(
      f"the first of {num_slots} slots has {lens[0]} tokens, more than the"
      f" context of {context}, before the last begins; choose fewer"
    )
  return lens


def _step_s(
  engine: Engine,
  params: dict[str, Any],
  prompts: Sequence[np.ndarray],
  lens: Sequence[int],
  num_steps: int,
) -> float:
  """Median seconds of a decode step, over dispatches in which all slots draw.

  (The difference of a long and a short run would be less exact: at long
  contexts, prefill takes far longer than the measured steps, and varies.)
  """
  drawn: list[int] = []  # tokens in each turn of the engine
  ends_s: list[float] = []

  def poll() -> None:
    drawn.append(0)
    ends_s.append(0.0)

  def on_tokens(index: int, tokens: np.ndarray) -> None:
    drawn[-1] += len(tokens)
    ends_s[-1] = time.perf_counter()

  for _ in sample(
    engine, params, prompts, lens, poll=poll, on_tokens=on_tokens
  ):
    pass
  full = len(prompts) * num_steps
  turns = list(zip(drawn, ends_s, strict=True))
  found_s = [
    end_s - start_s
    for (before, start_s), (now, end_s) in itertools.pairwise(turns)
    if before == now == full
  ]
  if len(found_s) < 3:
    raise RuntimeError(f"all slots drew in {len(found_s)} dispatches only")
  return statistics.median(found_s) / num_steps


def _weight_bytes(config: ModelConfig) -> int:
  """Bytes of weights that a step reads: all but the embedding table."""
  sizes = [leaf.size for leaf in jax.tree.leaves(abstract_params(config))]
  unread = 0 if config.tied else config.vocab_size * config.model_dim
  return (sum(sizes) - unread) * jnp.dtype(config.compute_dtype).itemsize


def _token_bytes(config: ModelConfig, args: argparse.Namespace) -> int:
  """Bytes of the keys and values of one position."""
  width = config.num_layers * config.num_kv_heads * config.head_dim
  return 2 * width * cache_dtype(config, args.cache_dtype).itemsize


def _read_bytes_per_s() -> float:
  """Memory bandwidth of the device: the best of a few ways to read an array."""
  columns = 8192
  shape = (_READ_BYTES // columns // 4, columns)
  x_BD = jnp.ones(shape, jnp.float32)
  ways = (
    lambda x_BD: x_BD.sum(),
    lambda x_BD: x_BD.sum(1),
    lambda x_BD: x_BD @ jnp.ones(columns),
  )
  best_s = math.inf
  for way in map(jax.jit, ways):
    jax.block_until_ready(way(x_BD))
    for _ in range(5):
      start_s = time.perf_counter()
      jax.block_until_ready(way(x_BD))
      best_s = min(best_s, time.perf_counter() - start_s)
  return x_BD.nbytes / best_s


def _report(
  name: str,
  config: ModelConfig,
  args: argparse.Namespace,
  curves: dict[str, list[dict[str, float]]],
) -> None:
  """Prints the table and the line of JSON; adds `fraction` to the rows."""
  rows = [row for curve in curves.values() for row in curve]
  peak = statistics.median(row["read_bytes_per_s"] for row in rows)
  print(f"memory is read at {peak / 1e9:.1f} GB/s (median of {len(rows)})")
  print("slots  context  tokens/s  MB per step    GB/s  of peak bandwidth")
  for row in rows:
    row["fraction"] = row["bytes_per_s"] / peak
    print(
      f"{row['num_slots']:5d}  {row['context']:7d}"
      f"  {row['tokens_per_s']:8.1f}  {row['step_bytes'] / 1e6:11.1f}"
      f"  {row['bytes_per_s'] / 1e9:6.1f}  {row['fraction']:15.1%}"
    )
  result = {
    "benchmark": name,
    "device": jax.devices()[0].device_kind,
    "model": config.name,
    "dtype": config.compute_dtype,
    "cache_dtype": str(cache_dtype(config, args.cache_dtype)),
    "read_gb_per_s": round(peak / 1e9, 2),
    "rows": [_brief(row) for row in rows],
  }
  print(json.dumps(result))


def _brief(row: dict[str, float]) -> dict[str, float]:
  """A row of the line of JSON."""
  return {
    "num_slots": row["num_slots"],
    "context": row["context"],
    "tokens_per_s": round(row["tokens_per_s"], 1),
    "step_mb": round(row["step_bytes"] / 1e6, 1),
    "fraction": round(row["fraction"], 3),
  }


def _plot(
  curves: dict[str, list[dict[str, float]]], path: pathlib.Path
) -> None:
  """Plots tokens per second and the bound of memory bandwidth."""
  import matplotlib

  matplotlib.use("svg")
  matplotlib.rcParams["svg.hashsalt"] = "kimina_jax"  # same rows, same bytes
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True)
  labels = {
    "context": ("context", f"tokens of context, {_CONTEXT_SLOTS} slots"),
    "slots": ("num_slots", f"slots, {_SLOTS_CONTEXT} tokens of context"),
  }
  for axis, (name, rows) in zip(axes, curves.items(), strict=True):
    key, label = labels[name]
    x = [row[key] for row in rows]
    rates = [row["tokens_per_s"] for row in rows]
    bounds = [row["tokens_per_s"] / row["fraction"] for row in rows]
    axis.plot(x, rates, marker="o", label="measured")
    axis.plot(x, bounds, linestyle="--", label="if reading memory were all")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel(label)
    axis.grid(True, which="both", alpha=0.25)
  axes[0].set_ylabel("tokens per second")
  axes[0].legend(fontsize=8)
  figure.tight_layout()
  figure.savefig(path, metadata={"Date": None})
  pyplot.close(figure)
