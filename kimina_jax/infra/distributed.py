"""Multi-controller JAX: connected processes, and all-gather of host values.

In: the address of process 0 and the number of this process. Out: a connected
JAX, and values gathered from all processes. A job of one process needs no call
and opens no port. Never guesses a setting and never hides a failure to connect.

All processes run the same program; process 0 alone prints and writes metrics.
What they decide together (where to resume, where to stop, what to learn from)
each computes from gathered values by the same code, so that no decision has to
be sent. Each calls `gather` as often as the others and at the same places; a
failure that keeps one from it ends all of them, see heartbeat.py.
"""

import pickle
import sys
import time
import traceback
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src.distributed import global_state
from jax.experimental import multihost_utils

from kimina_jax.infra import interruption
from kimina_jax.infra.heartbeat import LOST_S, HeartbeatMonitor
from kimina_jax.types import UsageError

T = TypeVar("T")

_CONNECT_S = 300
# Timeout of JAX's own heartbeats; those of heartbeat.py notice a loss earlier.
_HEARTBEAT_S = 50
# Process 0 may write a report while the others wait.
_END_S = 600
# Bytes per process and round of a gather: two shapes, two compilations.
_SMALL, _LARGE = 1 << 14, 1 << 22

_process_id = 0
_monitor: HeartbeatMonitor | None = None


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
  global _process_id, _monitor
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
  # JAX's service would handle SIGTERM itself; see interruption.py.
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
  _process_id = process_id
  _monitor = HeartbeatMonitor(
    _client(), process_id=process_id, num_processes=num_processes
  )
  interruption.forward_signals(_monitor.send_signal)
  if jax.process_index() != process_id:
    raise UsageError(
      f"process_id is {process_id}, but the devices' runtime numbers this "
      f"process {jax.process_index()}; number the processes as it does"
    )


def shutdown() -> None:
  """Waits until no process has work left, then disconnects them."""
  global _process_id, _monitor
  if _monitor is None:
    return
  _client().wait_at_barrier("kimina_jax/end", _END_S * 1000)
  _monitor.close()
  _process_id, _monitor = 0, None
  jax.distributed.shutdown()


def is_first() -> bool:
  """Whether this is process 0, which prints and writes; true without others."""
  return _process_id == 0


def is_connected() -> bool:
  """Whether the job has other processes."""
  return _monitor is not None


def gather(value: T) -> list[T]:
  """All-gather: the values of all processes, in order, in every process.

  A collective, and so a barrier. Values are pickled and sent from device to
  device, so that arrays arrive bit for bit.
  """
  if _monitor is None:
    return [value]
  data = np.frombuffer(pickle.dumps(value), np.uint8)
  with jax.transfer_guard("allow"):
    sizes = multihost_utils.process_allgather(np.uint32(data.size))
    # An all-gather needs one shape of all, and each shape is compiled.
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
  """Process 0's value, for what may differ between machines, such as files."""
  return gather(value)[0]


def agree_to_stop() -> None:
  """Raises Interrupted in all processes if one of them received a signal.

  A collective: every process has to call it, and as often as the others.
  """
  for found in gather(interruption.reason()):
    if found:
      raise interruption.Interrupted(found)


def fail(message: str, *, code: int = 1) -> int:
  """Prints why this process ends; in a job of several, ends all of them.

  The first process to fail prints its message, the others end silently.

  Returns:
    The exit code, in a job of one process; else it does not return.
  """
  if _monitor is None:
    print(message, file=sys.stderr)
    return code
  _monitor.fail(f"process {_process_id}: {message}", code=code)


def fail_with_traceback() -> int:
  """As `fail`, for an exception that the loss of another process may cause.

  A collective fails at once when a process is lost; the heartbeats find which
  one some seconds later, and end this process with that reason.
  """
  message = traceback.format_exc()
  time.sleep(LOST_S * 1.5)
  return fail(message)


def _client() -> Any:
  """The client of JAX's coordination service, which has no public name."""
  return global_state.client
