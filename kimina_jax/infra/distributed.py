"""Several processes as one job, with explicit settings.

In: the address of process 0 and this process's place. Out: a connected JAX,
and values gathered from all processes. A job of one process needs no call and
opens no port. Never guesses a setting and never hides a failure to connect.

All processes run the same program. Process 0 alone writes for people; what
they decide together (where to resume, where to stop, what to learn from) they
decide from gathered values, by the same code, so that nobody has to be told.
Each calls `gather` as often as the others and at the same places; whatever
keeps one from getting there ends all, see watch.py.
"""

import pickle
import sys
import time
import traceback
from typing import TypeVar

import jax
import numpy as np
from jax._src.distributed import global_state
from jax.experimental import multihost_utils

from kimina_jax.infra import interruption
from kimina_jax.infra.watch import LOST_S, Watch
from kimina_jax.types import UsageError

T = TypeVar("T")

_CONNECT_S = 300
# Only if the watch, which notices earlier, hangs itself.
_HEARTBEAT_S = 50
# The slowest process may have a report to write while the others wait.
_END_S = 600
# Bytes per process and round of a gather: two shapes, two compilations.
_SMALL, _LARGE = 1 << 14, 1 << 22

_place = (0, 1)  # process_id, num_processes
_watch: Watch | None = None


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
    UsageError: the settings contradict each other or the machine.
    RuntimeError: by JAX, if the processes do not find each other.
  """
  global _place, _watch
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
  # It would take SIGTERM for itself; see interruption.py.
  jax.config.update("jax_enable_preemption_service", False)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
    cluster_detection_method="deactivate",
    initialization_timeout=_CONNECT_S,
    heartbeat_timeout_seconds=_HEARTBEAT_S,
  )
  _place = process_id, num_processes
  _watch = Watch(
    global_state.client, process_id=process_id, num_processes=num_processes
  )
  interruption.forward_signals(_watch.ask_to_stop)
  if jax.process_index() != process_id:
    raise UsageError(
      f"process_id is {process_id}, but the devices' runtime numbers this "
      f"process {jax.process_index()}; number the processes as it does"
    )


def shutdown() -> None:
  """Waits until no process has work left, then disconnects them."""
  global _place, _watch
  if _watch is None:
    return
  global_state.client.wait_at_barrier("kimina_jax/end", _END_S * 1000)
  _watch.close()
  _place, _watch = (0, 1), None
  jax.distributed.shutdown()


def is_first() -> bool:
  """Whether this process writes for people; a lone process does."""
  return _place[0] == 0


def is_connected() -> bool:
  """Whether the job has other processes."""
  return _watch is not None


def gather(value: T) -> list[T]:
  """The values of all processes, in order of process, in every process.

  Also a barrier: it returns when all have called it. Values travel pickled,
  from device to device, so that arrays arrive bit for bit.
  """
  if _watch is None:
    return [value]
  data = np.frombuffer(pickle.dumps(value), np.uint8)
  with jax.transfer_guard("allow"):
    sizes = multihost_utils.process_allgather(np.uint32(data.size))
    # An all-gather wants one shape of all, and each shape is compiled.
    room = _SMALL if sizes.max() <= _SMALL else _LARGE
    rounds = []
    for start in range(0, int(sizes.max()), room):
      padded = np.zeros(room, np.uint8)
      part = data[start : start + room]
      padded[: part.size] = part
      rounds.append(multihost_utils.process_allgather(padded))
  gathered = np.concatenate(rounds, axis=1)
  return [
    pickle.loads(row[:size].tobytes())
    for row, size in zip(gathered, sizes, strict=True)
  ]


def of_first(value: T) -> T:
  """Process 0's value, for what may look different from another machine."""
  return gather(value)[0]


def fail(message: str, *, code: int = 1) -> int:
  """Says why this process ends, and in a job of several ends all others.

  The first process to fail prints its message, the others end without a word.

  Returns:
    The exit code, in a job of one process; else it does not return.
  """
  if _watch is None:
    print(message, file=sys.stderr)
    return code
  _watch.fail(f"process {_place[0]}: {message}", code=code)


def fail_with_traceback() -> int:
  """As `fail`, for an exception that may be no more than a neighbour's loss.

  A collective breaks at once when a process is gone; which one, the watch
  finds out in a while, and ends this process with that reason.
  """
  message = traceback.format_exc()
  time.sleep(LOST_S * 1.5)
  fail(message)
