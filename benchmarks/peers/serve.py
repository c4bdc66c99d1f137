"""Runs the systems of a benchmark in turn, each in its own process.

Each system's process calls `serve`, which runs one step for each line on
stdin and idles otherwise; the benchmark starts the processes as Peers. Peers
may be in other environments, so this module imports the standard library only.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def serve(
  step: Callable[[], float], warm_up: Callable[[], Any] | None = None
) -> None:
  """Prints the result of `warm_up`, then the time of each step, as JSON.

  Args:
    step: runs to its end and returns a number, such as its loss.
    warm_up: two steps by default.
  """
  first = warm_up() if warm_up else [step(), step()]
  print(json.dumps({"warmup": first}), flush=True)
  for _ in sys.stdin:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    loss = step()
    result = {
      "wall_s": time.perf_counter() - wall_s,
      "cpu_s": time.process_time() - cpu_s,
      "loss": loss,
    }
    print(json.dumps(result), flush=True)


def batches(
  directory: pathlib.Path, workload: str, size: int
) -> Iterator[tuple[list[list[int]], list[int]]]:
  """Prompts and response lengths of benchmarks/sampler.py, `size` at a time.

  They are not sorted by length, because a sampler cannot know the lengths of
  responses beforehand.
  """
  work = json.loads((directory / "workloads.json").read_text())[workload]
  rows = [
    prompt for prompt in work["prompts"] for _ in range(work["num_per_prompt"])
  ]
  for start in range(0, len(rows), size):
    yield rows[start : start + size], work["lens"][start : start + size]


class Peer:
  """A process that runs `serve`.

  Attributes:
    warmup: the result of its warm-up.
  """

  def __init__(self, command: Sequence[str]):
    """Starts the process and waits for its warm-up."""
    environment = {
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "HF_HUB_OFFLINE": "1",
      "PYTHONWARNINGS": "ignore",
    }
    self._process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=environment,
    )
    self.warmup = self._read()["warmup"]

  def step(self) -> dict[str, float]:
    """wall_s, cpu_s, loss, and `others`: the CPU share of other processes."""
    before_s, start_s = _busy_s(), time.perf_counter()
    print(file=self._process.stdin, flush=True)
    result = self._read()
    wall_s = time.perf_counter() - start_s
    others_s = max(0.0, _busy_s() - before_s - result["cpu_s"])
    return result | {"others": others_s / wall_s / os.cpu_count()}

  def close(self) -> None:
    """Ends the process and waits for its exit."""
    self._process.stdin.close()
    self._process.wait()

  def _read(self) -> dict[str, Any]:
    for line in self._process.stdout:
      if line.startswith("{"):
        return json.loads(line)
    raise RuntimeError(f"{self._process.args} ended without a result")


def _busy_s() -> float:
  """CPU seconds of all processes of this machine since it was started."""
  fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
  user, nice, system, _, _, interrupts, soft = map(int, fields[1:8])
  ticks = user + nice + system + interrupts + soft
  return ticks / os.sysconf("SC_CLK_TCK")
