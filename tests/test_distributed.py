"""Two real processes on this machine find each other and exchange rows."""

import json
import os
import socket
import subprocess
import sys

import pytest

from kimina_jax.infra.distributed import gather, initialize
from kimina_jax.types import UsageError

PROCESS = """
import json, sys
from kimina_jax.infra.distributed import gather, initialize
coordinator, process = sys.argv[1], int(sys.argv[2])
initialize(coordinator=coordinator, num_processes=2, process_id=process)
rows = [{"process": process, "text": "⊢" * index} for index in range(process)]
print(json.dumps([gather(rows), gather([process])]))
"""


def test_every_process_gets_the_rows_of_all_in_order():
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    coordinator = f"localhost:{probe.getsockname()[1]}"
  environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROCESS, coordinator, str(process)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      env=environment,
    )
    for process in range(2)
  ]
  results = [process.communicate(timeout=60) for process in processes]
  for process, (out, err) in zip(processes, results, strict=True):
    assert process.returncode == 0, err.decode()
    assert json.loads(out.splitlines()[-1]) == [
      [{"process": 1, "text": ""}],
      [0, 1],
    ]


def test_a_single_process_needs_no_connection():
  initialize(coordinator="", num_processes=1, process_id=0)
  assert gather([{"row": 1}]) == [{"row": 1}]


def test_contradictory_settings_are_refused():
  with pytest.raises(UsageError, match="process_id is 2 in a job of 2"):
    initialize(coordinator="a:1", num_processes=2, process_id=2)
  with pytest.raises(UsageError, match="coordinator is '' in a job of 2"):
    initialize(coordinator="", num_processes=2, process_id=0)
