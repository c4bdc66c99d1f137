"""Sampling: tokens per second beside peers, or beside the memory's rate.

  python benchmarks/sampler.py --peers_python=PEERS/bin/python [--rounds=3]
      [--workloads=rl,uniform] [--who=ours,transformers,tunix]
      [--num_prompts=32] [--tiny]

Eight layers of width 512 (34.6M parameters), float32, the same weights for
this project, transformers' `generate` and Tunix's Sampler, each in a process
of its own, which idles while the others have their turn. Shown to be the same
by the tokens that all three find most likely.

  rl        32 prompts of 40 to 400 tokens, 8 responses each, whose lengths
            are lognormal with median 150, at most 1024
  uniform   32 prompts of 64 tokens, 256 new tokens each

Temperature 1, the whole vocabulary, no stop token: lengths are forced and the
same for everybody, in an order that tells nothing. A rate is that of useful
tokens, the sum of those lengths over wall time. Everybody's compilation is
over before the first round. The peers are asked for tokens only; ours come
with their log-probabilities. They get the batch size that serves them best:
in a larger one more rows wait for the longest. The last line is JSON with the
medians of the rounds' ratios, ours / peer. Rounds do not count in which other
processes take more than --max_others of the CPUs: PyTorch's threads wait for
each other in a loop, and one of them without a core costs it a factor of ten,
not a half. The peers want an environment with

  torch==2.13.0 google-tunix==0.1.7 transformers safetensors

  python benchmarks/sampler.py --sweep [--plot=docs/sampler_cost.svg]

measures how a step's cost grows with context and slots, beside the bytes that
it must read and the rate at which this machine reads.

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
# Of 8, 16, 32 and 64, where a useful token costs both peers least.
_PEER_BATCH = {"rl": 16, "uniform": 32}
_SAME = 0.9  # of the most likely tokens; rounding may turn a near tie


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of the workloads, in tokens unless they are numbers."""

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
  parser.add_argument("--who", default="ours,transformers,tunix")
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
  if compares and args.who != "ours" and not args.peers_python:
    parser.error("peers need --peers_python; --who=ours goes without")
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
  """Rounds of one turn of everybody, one workload after the other."""
  ratios = {}
  with tempfile.TemporaryDirectory() as directory:
    sizes = Sizes(num_prompts=args.num_prompts)
    work = _workloads(config.vocab_size, _TINY_SIZES if args.tiny else sizes)
    _write_inputs(pathlib.Path(directory), config, work)
    for workload in args.workloads.split(","):
      peers = {
        who: serve.Peer(_command(who, args, directory, workload))
        for who in args.who.split(",")
      }
      _check_same({who: peer.warmup for who, peer in peers.items()})
      num_tokens = sum(work[workload]["lens"])
      rounds = []
      for index in range(args.rounds):
        turns = {
          who: _turn(peer, f"{workload} round {index} {who:12s}", num_tokens)
          for who, peer in peers.items()
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
  """Ours / peer, medians of the quiet rounds; no ratio without any."""
  quiet = [
    {who: rate for who, (rate, _) in turns.items()}
    for turns in rounds
    if all(others <= max_others for _, others in turns.values())
  ]
  print(f"{workload}: {len(quiet)} of {len(rounds)} rounds were quiet")
  if not quiet:
    return {}
  for who in quiet[0]:
    median = statistics.median(rates[who] for rates in quiet)
    print(f"median {workload} {who:12s} {median:7.1f} tokens/s")
  return {
    f"{workload}_vs_{who}": round(
      statistics.median(rates["ours"] / rates[who] for rates in quiet), 3
    )
    for who in quiet[0]
    if who != "ours" and "ours" in quiet[0]
  }


def _command(
  who: str, args: argparse.Namespace, directory: str, workload: str
) -> list[str]:
  if who == "ours":
    here = [sys.executable, __file__, *sys.argv[1:]]
    return [*here, "--child", directory, workload]
  script = str(_PEERS / _SCRIPTS[who])
  size = args.peer_batch or _PEER_BATCH[workload]
  return [args.peers_python, script, directory, workload, str(size)]


def _turn(peer: serve.Peer, title: str, num_tokens: int) -> tuple[float, float]:
  """Useful tokens per second, and the share of the CPUs that others took."""
  result = peer.step()
  if result["loss"] != num_tokens:
    raise RuntimeError(f"{title}: {result['loss']} of {num_tokens} tokens")
  rate = num_tokens / result["wall_s"]
  print(
    f"{title} {rate:7.1f} tokens/s, "
    f"{num_tokens / result['cpu_s']:6.1f} per CPU second, "
    f"others took {result['others']:4.0%} of the CPUs",
    flush=True,
  )
  return rate, result["others"]


def _check_same(tokens: dict[str, list[list[int]]]) -> None:
  """Everybody has the same weights and finds the same tokens likely."""
  first = next(iter(tokens.values()))
  for who, found in tokens.items():
    same = float(np.mean(np.array(found) == np.array(first)))
    print(f"{who}: {same:.0%} of the most likely tokens are the same")
    if same < _SAME:
      raise RuntimeError(f"{who} has other weights: {found}, not {first}")


def _workloads(vocab_size: int, sizes: Sizes) -> dict[str, dict]:
  """Prompts and lengths by name; row = prompt × num_per_prompt + attempt."""
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
  """Weights as Hugging Face has them, and the workloads."""
  params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)
  (directory / "config.json").write_text(json.dumps(config_to_hf(config)))
  save_params(params, config, directory, shard_bytes=2**30)
  (directory / "workloads.json").write_text(json.dumps(work))


def _serve(config: ModelConfig, args: argparse.Namespace) -> None:
  """This project's turn."""
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
