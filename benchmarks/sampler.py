"""Sampling throughput, against other samplers or against memory bandwidth.

  python benchmarks/sampler.py --peers_python=PEERS/bin/python [--rounds=3]
      [--workloads=rl,uniform] [--samplers=ours,transformers,tunix]
      [--num_prompts=32] [--tiny]

Compares this project with transformers' `generate` and Tunix's Sampler: a model
of eight layers of width 512 (34.6M parameters), float32, the same weights. Each
sampler is in a process of its own, which is idle during the turns of the
others. That the weights are the same is checked by greedy decoding.

  rl        32 prompts of 40 to 400 tokens, 8 responses each, whose lengths
            are lognormal with median 150, at most 1024
  uniform   32 prompts of 64 tokens, 256 new tokens each

Temperature 1, the whole vocabulary, no stop token: the lengths are forced, the
same for all samplers, and in random order. A rate is that of useful tokens: the
sum of those lengths over wall time. Compilation is over before the first round.
The peers return tokens only, this project also log-probabilities. The peers run
with their best batch size: in a larger one more rows wait for the longest. The
last line is JSON with the medians over the rounds of the ratio ours / peer.
Rounds in which other processes use more than --max_others of the CPUs are left
out: PyTorch's threads wait for each other in a busy loop, so that one thread
without a core slows it down by a factor of ten, not of two. The peers need an
environment with

  torch==2.13.0 google-tunix==0.1.7 transformers safetensors

  python benchmarks/sampler.py --sweep [--plot=docs/sampler_cost.svg]

measures the cost of a decode step over context and slots, with the bytes that
it must read and the memory bandwidth of this machine.

  python benchmarks/sampler.py --device --model=qwen2.5-1.5b
      [--num_slots=128] [--context=2048]

does so for a named model in bfloat16 on one accelerator.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile

import decode_cost
import decoding
import jax
import numpy as np
from hf_params import load_params, save_params
from peers import serve

from kimina_jax.model.config import ModelConfig, ModelSettings, model_config
from kimina_jax.model.hf_config import config_to_hf
from kimina_jax.model.params import init_params, param_shardings

_PEERS = pathlib.Path(__file__).parent / "peers"
_SCRIPTS = {
  "transformers": "torch_generate.py",
  "tunix": "tunix_generate.py",
}
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
# Of 8, 16, 32 and 64, the batch size with the best rate of both peers.
_PEER_BATCH = {"rl": 16, "uniform": 32}
_SAME = 0.9  # share of equal greedy tokens; rounding may decide a near tie


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of the workloads: lengths in tokens, and counts."""

  num_prompts: int = 32
  num_per_prompt: int = 8
  rl_prompt: tuple[int, int] = (40, 400)
  rl_median: int = 150
  rl_response: tuple[int, int] = (8, 1024)
  uniform_prompt: int = 64
  uniform_response: int = 256


_TINY_SIZES = Sizes(4, 2, (4, 20), 8, (2, 24), 8, 8)


def main() -> None:
  args = _parse()
  config = _config(args)
  if args.child:
    _serve(config, args)
  elif args.sweep:
    decode_cost.sweep(config, args)
  elif args.device:
    decode_cost.measure_device(config, args)
  else:
    _compare(config, args)


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser()
  parser.add_argument("--peers_python", help="of the peers' environment")
  parser.add_argument("--samplers", default="ours,transformers,tunix")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--workloads", default="rl,uniform")
  parser.add_argument("--num_prompts", type=int, default=32, help="fewer")
  parser.add_argument("--peer_batch", type=int, help="16 in rl, else 32")
  parser.add_argument(
    "--max_others", type=float, default=0.1, help="share of CPUs, of a round"
  )
  parser.add_argument("--tiny", action="store_true", help="a smoke test")
  parser.add_argument("--sweep", action="store_true")
  parser.add_argument("--plot", help="where --sweep draws its curves")
  parser.add_argument("--device", action="store_true")
  parser.add_argument("--model", default="qwen2.5-1.5b", help="of --device")
  parser.add_argument("--context", type=int, default=2048, help="of --device")
  parser.add_argument("--num_slots", type=int, help="64, or 128 of --device")
  parser.add_argument("--steps_per_dispatch", type=int, default=8)
  parser.add_argument("--page_size", type=int, default=64)
  parser.add_argument("--chunk_tokens", type=int, default=512)
  parser.add_argument("--cache_tokens", type=int, default=0)
  parser.add_argument("--cache_dtype", default="auto")
  parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
  args = parser.parse_args()
  args.num_slots = args.num_slots or (128 if args.device else 64)
  compares = not (args.child or args.sweep or args.device)
  if compares and args.samplers != "ours" and not args.peers_python:
    parser.error("peers need --peers_python; --samplers=ours runs without")
  return args


def _config(args: argparse.Namespace) -> ModelConfig:
  if args.tiny:
    return dataclasses.replace(
      _CONFIG, num_layers=2, model_dim=64, head_dim=8, ffn_dim=128
    )
  if args.device:
    settings = ModelSettings(
      name=args.model,
      param_dtype="bfloat16",
      compute_dtype="bfloat16",
      remat="none",
      attention="auto",
      yarn_factor=1.0,
    )
    return model_config(settings)
  return _CONFIG


def _compare(config: ModelConfig, args: argparse.Namespace) -> None:
  """Rounds of one turn of each sampler, one workload after the other."""
  ratios = {}
  with tempfile.TemporaryDirectory() as directory:
    sizes = Sizes(num_prompts=args.num_prompts)
    work = _workloads(config.vocab_size, _TINY_SIZES if args.tiny else sizes)
    _write_inputs(pathlib.Path(directory), config, work)
    for workload in args.workloads.split(","):
      peers = {
        name: serve.Peer(_command(name, args, directory, workload))
        for name in args.samplers.split(",")
      }
      _check_same({name: peer.warmup for name, peer in peers.items()})
      num_tokens = sum(work[workload]["lens"])
      rounds = []
      for index in range(args.rounds):
        turns = {
          name: _turn(peer, f"{workload} round {index} {name:12s}", num_tokens)
          for name, peer in peers.items()
        }
        rounds.append(turns)
      for peer in peers.values():
        peer.close()
      ratios |= _ratios(workload, rounds, args.max_others)
  print(json.dumps({"benchmark": "sampler", "ratios": ratios}))


def _ratios(
  workload: str,
  rounds: list[dict[str, tuple[float, float]]],
  max_others: float,
) -> dict[str, float]:
  """Medians over the quiet rounds of ours / peer; empty without such rounds."""
  quiet = [
    {name: rate for name, (rate, _) in turns.items()}
    for turns in rounds
    if all(others <= max_others for _, others in turns.values())
  ]
  print(f"{workload}: {len(quiet)} of {len(rounds)} rounds were quiet")
  if not quiet:
    return {}
  for name in quiet[0]:
    median = statistics.median(rates[name] for rates in quiet)
    print(f"median {workload} {name:12s} {median:7.1f} tokens/s")
  return {
    f"{workload}_vs_{name}": round(
      statistics.median(rates["ours"] / rates[name] for rates in quiet), 3
    )
    for name in quiet[0]
    if name != "ours" and "ours" in quiet[0]
  }


def _command(
  name: str, args: argparse.Namespace, directory: str, workload: str
) -> list[str]:
  if name == "ours":
    here = [sys.executable, __file__, *sys.argv[1:]]
    return [*here, "--child", directory, workload]
  script = str(_PEERS / _SCRIPTS[name])
  size = args.peer_batch or _PEER_BATCH[workload]
  return [args.peers_python, script, directory, workload, str(size)]


def _turn(peer: serve.Peer, title: str, num_tokens: int) -> tuple[float, float]:
  """Useful tokens per second, and the CPU share of other processes."""
  result = peer.step()
  if result["loss"] != num_tokens:
    raise RuntimeError(f"{title}: {result['loss']} of {num_tokens} tokens")
  rate = num_tokens / result["wall_s"]
  print(
    f"{title} {rate:7.1f} tokens/s, "
    f"{num_tokens / result['cpu_s']:6.1f} per CPU second, "
    f"other processes used {result['others']:4.0%} of the CPUs",
    flush=True,
  )
  return rate, result["others"]


def _check_same(tokens: dict[str, list[list[int]]]) -> None:
  """Raises RuntimeError unless greedy decoding gives the same tokens."""
  first = next(iter(tokens.values()))
  for name, found in tokens.items():
    same = float(np.mean(np.array(found) == np.array(first)))
    print(f"{name}: {same:.0%} of the greedy tokens are the same")
    if same < _SAME:
      raise RuntimeError(f"{name} has other weights: {found}, not {first}")


def _workloads(vocab_size: int, sizes: Sizes) -> dict[str, dict]:
  """Prompts and lengths by name; index = prompt × num_per_prompt + attempt."""
  rng = np.random.default_rng(0)
  prompt_lens = rng.integers(
    sizes.rl_prompt[0], sizes.rl_prompt[1] + 1, sizes.num_prompts
  )
  num_rows = sizes.num_prompts * sizes.num_per_prompt
  lens = rng.lognormal(np.log(sizes.rl_median), 0.8, num_rows)
  lens = lens.round().clip(*sizes.rl_response).astype(int)
  lens[lens.argmax()] = sizes.rl_response[1]

  def work(prompt_lens, num_per_prompt: int, lens) -> dict:
    return {
      "prompts": [
        rng.integers(1, vocab_size, length).tolist() for length in prompt_lens
      ],
      "num_per_prompt": num_per_prompt,
      "lens": list(map(int, lens)),
    }

  num = sizes.num_prompts
  return {
    "rl": work(prompt_lens, sizes.num_per_prompt, lens),
    "uniform": work(
      [sizes.uniform_prompt] * num, 1, [sizes.uniform_response] * num
    ),
    "greedy": work([8, 24, 16, 32], 1, [16] * 4),
  }


def _write_inputs(
  directory: pathlib.Path, config: ModelConfig, work: dict[str, dict]
) -> None:
  """Writes the weights in Hugging Face's format, and the workloads."""
  params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)
  (directory / "config.json").write_text(json.dumps(config_to_hf(config)))
  save_params(params, config, directory, shard_bytes=2**30)
  (directory / "workloads.json").write_text(json.dumps(work))


def _serve(config: ModelConfig, args: argparse.Namespace) -> None:
  """Serves this project's sampler to the parent process."""
  directory, workload = pathlib.Path(args.child[0]), args.child[1]
  works = json.loads((directory / "workloads.json").read_text())
  params = jax.device_put(
    load_params(directory, config),
    param_shardings(config, decoding.one_device(), "decode"),
  )

  def sampler(name: str, temperature: float):
    work = works[name]
    engine = decoding.make_engine(
      config,
      args,
      num_slots=min(args.num_slots, len(work["lens"])),
      max_prompt_len=max(map(len, work["prompts"])),
      max_response_len=max(work["lens"]),
      temperature=temperature,
    )
    return lambda iteration: list(
      decoding.sample(engine, params, **work, iteration=iteration)
    )

  draw, num_turns = sampler(workload, 1.0), 0

  def step() -> int:
    nonlocal num_turns
    num_turns += 1
    return sum(len(rollout.tokens) for rollout in draw(num_turns))

  def warm_up() -> list[list[int]]:
    step()  # compiles
    rollouts = sampler("greedy", 0.0)(0)
    rollouts.sort(key=lambda rollout: rollout.index)
    return [rollout.tokens.tolist() for rollout in rollouts]

  serve.serve(step, warm_up)


if __name__ == "__main__":
  main()
