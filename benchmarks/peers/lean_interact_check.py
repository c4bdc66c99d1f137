"""Throughput of LeanInteract: commands through two LeanServers in two threads.

  python lean_interact_check.py REPL NUM_ITEMS

REPL is a Python program that speaks the protocol of Lean's REPL; it is put
where LeanInteract looks for one. Each item is one command: the proof, in the
environment of its header. Nothing is audited.
"""

import concurrent.futures
import pathlib
import shlex
import sys
import tempfile

import serve
from lean_interact import Command, LeanREPLConfig, LeanServer

_HEADER = (
  "import Mathlib\nimport Aesop\nset_option maxHeartbeats 400000\nopen Nat\n"
)
_NUM_SERVERS = 2


def main() -> None:
  repl, num_items = sys.argv[1], int(sys.argv[2])
  with tempfile.TemporaryDirectory() as directory:
    config = _config(pathlib.Path(directory), repl)
    servers = [LeanServer(config) for _ in range(_NUM_SERVERS)]
    envs = [server.run(Command(cmd=_HEADER)).env for server in servers]
    num_turns = 0

    def work(index: int) -> int:
      server, env = servers[index], envs[index]
      first = (num_turns * _NUM_SERVERS + index) * num_items
      return sum(
        server.run(Command(cmd=_proof(first + i), env=env)).lean_code_is_valid()
        for i in range(num_items // _NUM_SERVERS)
      )

    def step() -> int:
      nonlocal num_turns
      num_turns += 1
      return sum(threads.map(work, range(_NUM_SERVERS)))

    with concurrent.futures.ThreadPoolExecutor(_NUM_SERVERS) as threads:
      serve.serve(step, lambda: None)


def _config(directory: pathlib.Path, repl: str) -> LeanREPLConfig:
  """A toolchain that consists of the REPL and a `lake env` that starts it."""
  (directory / "lean-toolchain").write_text("leanprover/lean4:v4.9.0\n")
  python = shlex.join([sys.executable, "-I", "-S", repl])
  _write(directory / ".lake" / "build" / "bin" / "repl", f"exec {python}")
  _write(directory / "lake", 'shift; exec "$@"')
  return LeanREPLConfig(
    local_repl_path=directory, build_repl=False, lake_path=directory / "lake"
  )


def _write(path: pathlib.Path, line: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f"#!/bin/sh\n{line}\n")
  path.chmod(0o755)


def _proof(index: int) -> str:
  """As long as those of benchmarks/verification.py without their header."""
  steps = "\n".join(
    f"  have h{step} : x ^ {step} * y + {index} ≤ (x + y) ^ 2 + {step} := by\n"
    f"    nlinarith [sq_nonneg (x - y), mul_pos h₁ h₁] -- step {step}"
    for step in range(3, 6)
  )
  return (
    f"theorem t{index} (x y : ℝ) (h₀ : x + y = {index}) (h₁ : 0 < x) "
    f"(h₂ : x * y = {index % 97}) : x ^ 2 + y ^ 2 = {index**2 - 2} := by\n"
    f"{steps}\n  nlinarith [sq_nonneg (x + y), h₀, h₂]\n"
  )


if __name__ == "__main__":
  main()
