"""Several processes exchange values, stop together, detect a lost process."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from kimina_jax.infra import distributed
from kimina_jax.types import UsageError

ROOT = pathlib.Path(__file__).resolve().parent.parent

PROGRAM = """
import json, sys, time
import jax
import numpy as np
from kimina_jax.infra import cli, distributed, interruption
from kimina_jax.types import Problem, UsageError

def main(config):
  me = jax.process_index()
  print("ready", flush=True)
{code}

cli.run(cli.Command(
  "test",
  main="__main__:main",
  summary="",
  example="",
  config="debug",
  is_experiment=True,
))
"""

# What JSON would not carry, and more than one round of it from process 1.
EXCHANGE = """
rows = range(5)[me::2]
arrays = [np.float32(1) / np.arange(1, 2 + row, dtype=np.float32)
          for row in rows]
found = distributed.gather((rows, arrays, Problem("⊢" * me, "", "")))
print(json.dumps([list(rows) for rows, _, _ in found]))
print(json.dumps([[a.tobytes().hex() for a in arrays]
                  for _, arrays, _ in found]))
print(json.dumps([problem.name for _, _, problem in found]))
big = distributed.gather(np.arange(1 + me * 1_500_000, dtype=np.int32))
print(json.dumps([part.tolist() == list(range(len(part))) for part in big]))
print(json.dumps([len(part) for part in big]))
print(json.dumps([distributed.of_first(me), distributed.is_first()]))
"""

# Works in rounds, stops where all agree, and says how many rounds it did.
ROUNDS = """
interruption.defer()
print("working", flush=True)
for count in range(10**6):
  try:
    for _ in range(2000 if me == 0 else 0):
      time.sleep(0.01)
      interruption.check()
  except interruption.Interrupted:
    pass
  try:
    distributed.agree_to_stop()
  except interruption.Interrupted as reason:
    print("rounds", count, flush=True)
    raise interruption.Interrupted(f"{reason} in all") from None
"""
WAIT = "distributed.gather(0)"


@pytest.fixture
def start():
  """Starts two connected processes that run code as programs of ours."""
  started = []

  def start(code):
    with socket.socket() as probe:
      probe.bind(("localhost", 0))
      port = probe.getsockname()[1]
    program = PROGRAM.format(code=textwrap.indent(code, "  "))
    environment = os.environ | {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    for process in range(2):
      flags = (
        f"--coordinator=localhost:{port}",
        "--num_processes=2",
        f"--process_id={process}",
      )
      started.append(
        subprocess.Popen(
          [sys.executable, "-c", program, *flags],
          cwd=ROOT,
          env=environment,
          stdout=subprocess.PIPE,
          stderr=subprocess.PIPE,
          text=True,
        )
      )
    return started

  yield start
  for process in started:
    process.kill()
    process.communicate()


def wait_for(process, line):
  while process.stdout.readline().strip() != line:
    assert process.poll() is None, process.communicate()


def finish(processes, timeout_s=60):
  """Exit codes, lines of stdout that are JSON or words of ours, and stderr."""
  ends = [process.communicate(timeout=timeout_s) for process in processes]
  codes = [process.returncode for process in processes]
  # Gloo's words may come in two pieces, with one of ours between.
  outs = [
    [line for line in out.splitlines() if not re.search("Gloo|peer rank", line)]
    for out, _ in ends
  ]
  return codes, outs, [err for _, err in ends]


def test_every_process_gets_the_values_of_all_in_order(start):
  codes, outs, errors = finish(start(EXCHANGE))
  assert codes == [0, 0], errors
  for process, out in enumerate(outs):
    rows, arrays, names, whole, sizes, first = map(json.loads, out[1:])
    assert rows == [[0, 2, 4], [1, 3]]
    assert arrays == [
      [
        (np.float32(1) / np.arange(1, 2 + row)).astype("f4").tobytes().hex()
        for row in part
      ]
      for part in rows
    ]
    assert names == ["", "⊢"]
    assert whole == [True, True]
    assert sizes == [1, 1_500_001]
    assert first == [0, process == 0]


def test_a_usage_error_in_one_process_ends_both_with_one_message(start):
  code = f'if me == 1: raise UsageError("no such thing")\n{WAIT}'
  codes, _, errors = finish(start(code))
  assert codes == [1, 1]
  assert [error for error in errors if error] == [
    "process 1: error: no such thing\n"
  ]


def test_the_loss_of_process_0_ends_the_other(start):
  """While it waits in a collective; test_pod.py loses process 1."""
  processes = start(f"if me == 0: time.sleep(600)\n{WAIT}")
  for process in processes:
    wait_for(process, "ready")
  processes[0].kill()
  codes, _, errors = finish(processes)
  assert codes == [-signal.SIGKILL, 1]
  assert "error: process 0 is lost" in errors[1]
  assert "Run the same command again" in errors[1]


@pytest.mark.parametrize("signalled", [(1,), (0, 1)])
def test_a_signal_to_any_process_stops_all_at_the_same_place(start, signalled):
  """Soon, though process 0 is in a round of 20 s when it arrives.

  Process 1 waits in a collective, where Python handles no signal.
  """
  processes = start(ROUNDS)
  for process in processes:
    wait_for(process, "working")
  for process in signalled:
    processes[process].send_signal(signal.SIGTERM)
  codes, outs, errors = finish(processes, timeout_s=15)
  assert codes == [143, 143]
  assert outs[0] == outs[1] == ["rounds 0"]
  assert errors == ["stopped: SIGTERM in all\n", ""]


def test_a_lone_process_needs_no_connection():
  distributed.initialize(coordinator="", num_processes=1, process_id=0)
  rows = [{"row": 1}]
  assert distributed.gather(rows)[0] is rows
  assert distributed.is_first()
  distributed.agree_to_stop()
  distributed.shutdown()


def test_contradictory_settings_are_refused():
  with pytest.raises(UsageError, match="process_id is 2 in a job of 2"):
    distributed.initialize(coordinator="a:1", num_processes=2, process_id=2)
  with pytest.raises(UsageError, match="coordinator is '' in a job of 2"):
    distributed.initialize(coordinator="", num_processes=2, process_id=0)
