"""Several processes as one job, with explicit settings.

In: the address of process 0 and this process's place. Out: a connected JAX,
and JSON rows gathered from all processes. A single process needs no call and
opens no port. Never guesses a setting and never hides a failure to connect.
"""

import json
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from kimina_jax.types import UsageError


def initialize(
  *, coordinator: str, num_processes: int, process_id: int
) -> None:
  """Connects the processes of a job; before anything else touches JAX.

  Args:
    coordinator: `host:port` of process 0, the same in every process; "" in
      a job of one process.
    num_processes: in the whole job.
    process_id: 0 … num_processes − 1, a different one in each process.

  Raises:
    UsageError: the settings contradict each other.
    RuntimeError: by JAX, if the processes do not find each other.
  """
  if not 0 <= process_id < num_processes:
    raise UsageError(
      f"process_id is {process_id} in a job of {num_processes} processes; "
      "processes are numbered from 0"
    )
  if num_processes == 1:
    return
  if ":" not in coordinator:
    raise UsageError(
      f"coordinator is {coordinator!r} in a job of {num_processes} processes; "
      "give host:port of process 0"
    )
  jax.distributed.initialize(
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
  )


def gather(rows: list[Any]) -> list[Any]:
  """The JSON rows of all processes, in order of process, in every process.

  Every process has to call it, and as often as the others.
  """
  if jax.process_count() == 1:
    return rows
  data = np.frombuffer(json.dumps(rows).encode(), np.uint8)
  num_bytes = np.asarray(multihost_utils.process_allgather(np.int32(data.size)))
  # An all-gather wants equal shapes.
  padded = np.zeros(num_bytes.max(), np.uint8)
  padded[: data.size] = data
  gathered = np.asarray(multihost_utils.process_allgather(padded))
  return [
    row
    for data_of_process, size in zip(gathered, num_bytes, strict=True)
    for row in json.loads(data_of_process[:size].tobytes())
  ]
