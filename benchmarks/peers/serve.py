"""Runs a step whenever a line arrives on stdin, and says how long it took.

Peers live in processes and environments of their own; benchmarks/update.py
asks them in turns. Nothing but the standard library here.
"""

import json
import sys
import time
from collections.abc import Callable


def serve(step: Callable[[], float]) -> None:
  """`step` returns its loss when it is done; the first two are warm-up."""
  losses = [step(), step()]
  print(json.dumps({"warmup": losses}), flush=True)
  for _ in sys.stdin:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    loss = step()
    result = {
      "wall_s": time.perf_counter() - wall_s,
      "cpu_s": time.process_time() - cpu_s,
      "loss": loss,
    }
    print(json.dumps(result), flush=True)
