"""Optimizer updates: tokens per second compared with peers, or MFU.

  python benchmarks/update.py [--peers_python=PEERS/bin/python] [--rounds=5]

Eight layers of width 512 (34.6M parameters), 8 rows of 512 tokens, float32:
the same weights, tokens, loss and AdamW in this project, in Tunix and in
PyTorch (transformers' model), supervised and GRPO with old log-probabilities.
Each system runs in its own process, which idles during the turns of the
others; their losses are checked to be the same. The peers are scripts in
benchmarks/peers/ and need an environment with

  torch==2.13.0 google-tunix==0.1.7 transformers safetensors

The last line is JSON with the smaller ratio of the two modes, ours / peer, of
median tokens per second. The share of the CPUs that other processes used is
printed: rounds in which it is more than a few per cent are not meaningful.

  python benchmarks/update.py --model=qwen2.5-1.5b --sequence_len=4096
      [--num_rows=4] [--dtype=bfloat16] [--remat=save_attention]

measures the MFU of a named model on the accelerators of this machine: 6 FLOPs
per parameter and token, and those of causal attention, per second, divided by
the measured rate of large matmuls.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from hf_params import load_params, save_params
from peers import serve

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.learning import batch as batching
from kimina_jax.learning import losses
from kimina_jax.learning.optimizer import OptimizerSettings, make_optimizer
from kimina_jax.learning.update import make_update, start_state
from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.model.params import (
  abstract_params,
  init_params,
  param_shardings,
)

_PEERS = pathlib.Path(__file__).parent / "peers"
_MODES = ("sft", "grpo")
_ROWS, _LENGTH = 8, 512
_CONFIG = ModelConfig(
  name="benchmark",
  vocab_size=8192,
  model_dim=512,
  num_layers=8,
  num_q_heads=8,
  num_kv_heads=2,
  head_dim=64,
  ffn_dim=2048,
  tied=True,
  rope_theta=1e6,
  norm_eps=1e-6,
  max_position=32768,
  param_dtype="float32",
  compute_dtype="float32",
  remat="none",
)


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--peers_python", default=sys.executable)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--model", help="of model/config.py: measures MFU")
  parser.add_argument("--sequence_len", type=int, default=4096)
  parser.add_argument("--num_rows", type=int, default=4)
  parser.add_argument("--dtype", default="bfloat16", help="of compute")
  parser.add_argument("--remat", default="full")
  parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    _serve(pathlib.Path(args.child[0]), args.child[1])
  elif args.model:
    _measure_mfu(args)
  else:
    _compare(args)


def _compare(args: argparse.Namespace) -> None:
  """Rounds of one update of each system, in both modes."""
  here = [sys.executable, __file__, "--child"]
  peers = {
    "ours": here,
    "tunix": [args.peers_python, str(_PEERS / "tunix_update.py")],
    "torch": [args.peers_python, str(_PEERS / "torch_update.py")],
  }
  rates = {}
  with tempfile.TemporaryDirectory() as directory:
    _write_inputs(pathlib.Path(directory))
    for mode in _MODES:
      steppers = {
        system: serve.Peer([*command, directory, mode])
        for system, command in peers.items()
      }
      first = {system: stepper.warmup for system, stepper in steppers.items()}
      print(f"{mode}: losses of two steps {first}", flush=True)
      for system, found in first.items():
        np.testing.assert_allclose(
          found, first["ours"], atol=2e-3, err_msg=system
        )
      for index in range(args.rounds):
        for system, stepper in steppers.items():
          result = stepper.step()
          rate = _ROWS * _LENGTH / result["wall_s"]
          rates.setdefault((mode, system), []).append(rate)
          print(
            f"{mode} round {index} {system:5s} {rate:7.1f} tokens/s, "
            f"{_ROWS * _LENGTH / result['cpu_s']:6.1f} per CPU second, "
            f"others took {result['others']:4.0%} of the CPUs",
            flush=True,
          )
      for stepper in steppers.values():
        stepper.close()
  medians = {key: statistics.median(found) for key, found in rates.items()}
  for (mode, system), median in medians.items():
    print(f"median {mode} {system:5s} {median:7.1f} tokens/s")
  ratios = {
    f"update_vs_{system}": round(
      min(medians[mode, "ours"] / medians[mode, system] for mode in _MODES), 3
    )
    for system in ("tunix", "torch")
  }
  print(json.dumps({"benchmark": "update", "ratios": ratios}))


def _write_inputs(directory: pathlib.Path) -> None:
  """Writes weights in Hugging Face's layout, and a batch."""
  params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), _CONFIG)
  (directory / "config.json").write_text(json.dumps(config_to_hf(_CONFIG)))
  save_params(params, _CONFIG, directory, shard_bytes=2**30)
  rng = np.random.default_rng(1)
  batch = {
    "tokens": rng.integers(1, _CONFIG.vocab_size, (_ROWS, _LENGTH)).tolist(),
    "num_prompt": {"sft": 1, "grpo": _LENGTH // 4},
    "advantages": np.linspace(-1, 1, _ROWS).tolist(),
    "old_logp": -9.0,
    "clip": 0.2,
    "learning_rate": 1e-5,
  }
  (directory / "batch.json").write_text(json.dumps(batch))


def _serve(directory: pathlib.Path, mode: str) -> None:
  """Serves updates of this project."""
  batch = json.loads((directory / "batch.json").read_text())
  mesh = make_mesh(MeshSettings(data=1, fsdp=1, context=1, tensor=1))
  params = load_params(directory, _CONFIG)
  params = jax.device_put(params, param_shardings(_CONFIG, mesh, "train"))
  tokens_BT = np.int32(batch["tokens"])
  rows = _rows(tokens_BT, batch["num_prompt"][mode], batch["advantages"])
  rows = rows._replace(old_logp_BT=rows.response_BT * batch["old_logp"])
  loss = losses.sft
  if mode == "grpo":
    settings = losses.LossSettings(
      name="grpo",
      tau=0.0,
      clip_low=batch["clip"],
      clip_high=batch["clip"],
      max_sampler_ratio=0.0,
    )
    loss = losses.make_loss(settings, max_len=_LENGTH)
  serve.serve(_stepper(_CONFIG, mesh, params, rows, loss))


def _rows(tokens_BT, num_prompt, advantages):
  """A Batch of one sequence per row."""
  num_rows, length = tokens_BT.shape
  examples = [
    [
      batching.Example(
        name=str(row),
        tokens=tokens_BT[row],
        num_prompt=num_prompt,
        advantage=advantages[row],
        sampler_logps=np.zeros(length - num_prompt, np.float32),
      )
    ]
    for row in range(num_rows)
  ]
  return batching.stack_rows(
    examples, sequence_len=length, rows_per_batch=num_rows
  )


def _stepper(config, mesh, params, rows, loss):
  """Returns a function that runs one update and returns its loss."""
  settings = OptimizerSettings(
    learning_rate=1e-5,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=1e-4,
    clip_norm=0.0,
    reset=False,
    offload=False,
  )
  optimizer = make_optimizer(settings)
  state = start_state(params, config, optimizer=optimizer, mesh=mesh)
  update = make_update(config, optimizer, loss=loss, mesh=mesh)
  batch = batching.put_batch(rows, mesh)

  def step() -> float:
    nonlocal state
    state, metrics = update(state, [batch], len(rows.tokens_BT))
    jax.block_until_ready(state)
    return float(metrics["loss"])

  return step


def _measure_mfu(args: argparse.Namespace) -> None:
  """Model FLOPs per second of an update over those of a large matmul."""
  settings = ModelSettings(
    name=args.model,
    param_dtype="float32",
    compute_dtype=args.dtype,
    remat=args.remat,
    attention="auto",
    yarn_factor=1.0,
  )
  config = model_config(settings)
  mesh = make_mesh(MeshSettings(data=1, fsdp=-1, context=1, tensor=1))
  shardings = param_shardings(config, mesh, "train")
  init = jax.jit(init_params, static_argnums=1, out_shardings=shardings)
  shape = (args.num_rows, args.sequence_len)
  tokens_BT = np.random.default_rng(0).integers(1, config.vocab_size, shape)
  rows = _rows(tokens_BT.astype(np.int32), 1, np.zeros(args.num_rows))
  params = init(jax.random.key(0), config)
  step = _stepper(config, mesh, params, rows, losses.sft)
  del params
  step_s = _median_s(step, args.rounds)
  peak = _matmul_flops(args.dtype, args.rounds) * mesh.size
  flops = _model_flops(config, tokens_BT.size, args.sequence_len)
  result = {
    "benchmark": "update_mfu",
    "device": jax.devices()[0].device_kind,
    "num_devices": mesh.size,
    **{key: getattr(args, key) for key in ("model", "dtype", "remat")},
    "tokens": tokens_BT.size,
    "sequence_len": args.sequence_len,
    "step_s": round(step_s, 4),
    "tokens_per_s": round(tokens_BT.size / step_s),
    "model_tflops": round(flops / step_s / 1e12, 2),
    "matmul_tflops": round(peak / 1e12, 2),
    "mfu": round(flops / step_s / peak, 4),
  }
  print(json.dumps(result))


def _model_flops(
  config: ModelConfig, num_tokens: int, sequence_len: int
) -> float:
  """FLOPs of forward and backward, without recomputation."""
  num_params = sum(
    leaf.size for leaf in jax.tree.leaves(abstract_params(config))
  )
  if not config.tied:  # embedding is no matmul
    num_params -= config.vocab_size * config.model_dim
  width = config.num_q_heads * config.head_dim
  attention = config.num_layers * width * sequence_len
  return 6.0 * num_tokens * (num_params + attention)


def _matmul_flops(dtype: str, rounds: int) -> float:
  """FLOP/s of one device at square matmuls, the better of two sizes."""
  rates = []
  square = jax.jit(lambda x: x @ x)
  for size in (4096, 8192) if jax.default_backend() != "cpu" else (2048,):
    x = jnp.ones((size, size), dtype)
    seconds = _median_s(lambda x=x: jax.block_until_ready(square(x)), rounds)
    rates.append(2 * size**3 / seconds)
  return max(rates)


def _median_s(function, rounds: int) -> float:
  """Median seconds of `rounds` calls after two for warm-up."""
  seconds = []
  for _ in range(rounds + 2):
    start_s = time.perf_counter()
    function()
    seconds.append(time.perf_counter() - start_s)
  return statistics.median(seconds[2:])


if __name__ == "__main__":
  main()
