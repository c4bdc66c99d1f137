"""Costs of the audit and of the verification pool, without Lean's own time.

  python benchmarks/verification.py [--peers_python=PEERS/bin/python]
      [--rounds=3] [--num_items=4000] [--queued=1000,10000,100000]

Every check is a full audit (lexer, syntax rules, statement, proof, axioms:
three commands through pipes, sandboxed) of a different proof of some 600
characters, against a REPL that replies at once (tests/fake_repl.py). Eight
proofs of a statement follow one another.

  throughput   checks per second with two workers, beside LeanInteract's
               LeanServer on the same REPL: one command per proof, no audit
  overhead     median seconds of one check, one at a time
  utilisation  eight workers and a REPL that takes 50 ms for each proof: share
               of the workers' time that is spent in the REPL
  queued       seconds per check with so many proofs in the queue

The peer needs an environment with lean-interact==0.11.6; it gets a `lake` that
starts the REPL. The last line is JSON: ours ÷ peer, and each number over its
target (2,000 checks per second, 2 ms, 95 %, and an equal time per check for
all lengths of the queue).
"""

import argparse
import json
import pathlib
import runpy
import statistics
import sys
import time

from peers import serve

from kimina_jax.types import Extraction, Problem
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings

_HERE = pathlib.Path(__file__).parent
_REPL = _HERE.parent / "tests" / "fake_repl.py"
_HEADER = (
  "import Mathlib\nimport Aesop\nset_option maxHeartbeats 400000\nopen Nat\n\n"
)
_CONFIG = _HERE.parent / "configs" / "common.py"
_COST_S = 0.05
_NUM_PER_PROBLEM = 8
_NUM_BUSY = 8  # workers of the utilisation


def problem(index: int) -> Problem:
  """The problem of a proof; several proofs share one, as in RL."""
  index //= _NUM_PER_PROBLEM
  statement = (
    f"theorem t{index} (x y : ℝ) (h₀ : x + y = {index}) (h₁ : 0 < x) "
    f"(h₂ : x * y = {index % 97}) : x ^ 2 + y ^ 2 = {index**2 - 2} := by"
  )
  return Problem(f"t{index}", _HEADER, statement)


def proof(index: int) -> str:
  """A whole final block; all differ."""
  steps = "\n".join(
    f"  have h{step} : x ^ {step} * y + {index} ≤ (x + y) ^ 2 + {step} := by\n"
    f"    nlinarith [sq_nonneg (x - y), mul_pos h₁ h₁] -- step {step}"
    for step in range(3, 6)
  )
  end = "  nlinarith [sq_nonneg (x + y), h₀, h₂]"
  one = problem(index)
  return f"{one.header}{one.statement}\n{steps}\n{end}\n"


def make_pool(*, cost_s: float = 0.0, **changes) -> VerificationPool:
  options = {
    **runpy.run_path(str(_CONFIG))["get_config"]().checker,
    "backend": "repl",
    "command": f"{sys.executable} -I -S {_REPL} --cost_s={cost_s}",
    "isolation": "rlimit",  # the REPL is a Python script, with all of its files
    "max_uses": 1_000_000,
    "max_pending": 200_000,
    **changes,
  }
  return VerificationPool(CheckerSettings(**options))


def run(pool: VerificationPool, first: int, count: int) -> float:
  """Seconds to check `count` proofs, submitted as fast as possible."""
  work = [
    (problem(i), Extraction(final=proof(i)))
    for i in range(first, first + count)
  ]
  start_s = time.perf_counter()
  futures = [pool.submit(*item) for item in work]
  proved = sum(future.result().proved for future in futures)
  elapsed_s = time.perf_counter() - start_s
  if proved != count:
    raise RuntimeError(f"{proved} of {count} were proved")
  return elapsed_s


def overhead(pool: VerificationPool, first: int, count: int) -> float:
  """Median seconds of one check, one at a time."""
  return statistics.median(
    run(pool, index, 1) for index in range(first, first + count)
  )


def utilisation() -> float:
  """Share of the workers' time that is spent in the REPL."""
  count = 100 * _NUM_BUSY
  with make_pool(cost_s=_COST_S, num_workers=_NUM_BUSY) as pool:
    run(pool, 0, 4 * _NUM_BUSY)  # every worker has started
    return count * _COST_S / (run(pool, 1000, count) * _NUM_BUSY)


def compare(args: argparse.Namespace) -> dict[str, float]:
  """Throughput and overhead, round by round beside the peer."""
  rates, seconds, ratios = [], [], []
  peer = _peer(args) if args.peers_python else None
  with make_pool(num_workers=2) as pool:
    run(pool, 0, 200)
    for index in range(args.rounds):
      first = (index + 1) * 1_000_000
      rates.append(args.num_items / run(pool, first, args.num_items))
      seconds.append(overhead(pool, first + 500_000, 500))
      print(
        f"round {index}: {rates[-1]:.0f} checks/s, "
        f"{1e3 * seconds[-1]:.2f} ms one at a time",
        flush=True,
      )
      if peer is not None:
        result = peer.step()
        rate = result["loss"] / result["wall_s"]
        ratios.append(rates[-1] / rate)
        print(f"round {index}: LeanInteract {rate:.0f} commands/s", flush=True)
  if peer is not None:
    peer.close()
  found = {
    "checks_per_s_vs_2000": statistics.median(rates) / 2000,
    "overhead_2ms_vs_median": 0.002 / statistics.median(seconds),
  }
  return found | (
    {"vs_lean_interact": statistics.median(ratios)} if ratios else {}
  )


def _peer(args: argparse.Namespace) -> serve.Peer:
  script = _HERE / "peers" / "lean_interact_check.py"
  command = [args.peers_python, script, _REPL, args.num_items]
  return serve.Peer([*map(str, command)])


def growth(sizes: list[int]) -> float:
  """Seconds per check with the shortest queue ÷ those with the longest."""
  costs = []
  with make_pool(num_workers=2) as pool:
    run(pool, 0, 200)
    for index, size in enumerate(sizes):
      cost_s = run(pool, (index + 1) * 10_000_000, size) / size
      print(f"{size} queued: {1e6 * cost_s:.0f} µs per check", flush=True)
      costs.append(cost_s)
  return costs[0] / costs[-1]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--peers_python", help="of the peer's environment")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--num_items", type=int, default=4000)
  parser.add_argument("--queued", default="1000,10000,100000")
  args = parser.parse_args()
  ratios = compare(args)
  share = utilisation()
  print(f"utilisation of {_NUM_BUSY} workers: {share:.1%}", flush=True)
  ratios["utilisation_vs_95"] = share / 0.95
  sizes = [int(size) for size in args.queued.split(",")]
  ratios[f"queued_{sizes[0]}_vs_{sizes[-1]}"] = growth(sizes)
  ratios = {name: round(value, 3) for name, value in ratios.items()}
  print(json.dumps({"benchmark": "verification", "ratios": ratios}))


if __name__ == "__main__":
  main()
