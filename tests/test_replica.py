"""Two processes that form one replica stay in step, to the end or to a stop."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from tiny_sampler import by_index, generate, make_engine

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_two_processes_draw_what_one_draws():
  first, second = _run(2)
  assert first["group"] == [0, 1, 0, 2] and second["group"] == [0, 1, 1, 2]
  # In the same order, to the last token.
  assert first["found"] == second["found"]
  assert first["preempted"] == second["preempted"] > 0
  alone = by_index(generate(make_engine()))
  assert sorted(first["found"]) == [
    [rollout.index, rollout.tokens.tolist(), rollout.stop_reason]
    for rollout in alone
  ]


def test_both_stop_at_the_same_place_when_one_is_asked_to():
  first, second = _run(2, "9")
  assert first["stopped"] and second["stopped"] == "asked"
  assert first["found"] == second["found"]
  assert 0 < len(first["found"]) < 15


def _run(size: int, *args: str) -> list[dict]:
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = str(probe.getsockname()[1])
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
    "PYTHONPATH": str(ROOT),
  }
  command = [
    sys.executable,
    str(ROOT / "tests" / "replica.py"),
    port,
    str(size),
  ]
  processes = [
    subprocess.Popen(
      [*command, str(rank), *args],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for rank in range(size)
  ]
  outputs = [process.communicate(timeout=300) for process in processes]
  for process, (_, errors) in zip(processes, outputs, strict=True):
    assert process.returncode == 0, errors[-3000:]
  return [json.loads(output.splitlines()[-1]) for output, _ in outputs]
