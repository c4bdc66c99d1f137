"""One Lean REPL as a child process: commands in, typed replies out.

The protocol is that of leanprover-community/repl: a request is a JSON object
and a blank line, a reply is a JSON object over several lines and a blank line.
Whatever else the process does (end, hang, print something of its own, count
its environments wrongly) raises `WorkerFailure`, after which the worker must
be closed; it never returns a reply it is not sure of.
"""

import collections
import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kimina_jax.types import Status
from kimina_jax.verification.protocol import (
  Reply,
  WorkerFailure,
  parse_reply,
  violation,
)

_MAX_REPLY_BYTES = 16 * 2**20
_EXIT_GRACE_S = 1.0
_CHUNK_BYTES = 2**16
_TAIL_CHUNKS = 4
_MEMORY_WORDS = ("out of memory", "bad_alloc", "MemoryError", "mmap failed")


class Repl:
  """Owns the process, its pipes and its process group."""

  def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]):
    """Starts the process.

    Args:
      argv: the command, sandbox included.
      env: the whole environment of the process.

    Raises:
      OSError: the command cannot be started.
    """
    self._num_envs = 0
    self._buffer = bytearray()
    self._tail = collections.deque(maxlen=_TAIL_CHUNKS)
    self._kill_lock = threading.Lock()
    self._process = subprocess.Popen(
      argv,
      env=dict(env),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      bufsize=0,
      start_new_session=True,
    )
    os.set_blocking(self._process.stdin.fileno(), False)
    os.set_blocking(self._process.stdout.fileno(), False)
    self._stopped_r, self._stopped_w = os.pipe()
    self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
    self._drain.start()

  def command(
    self, text: str, *, env: int | None = None, timeout_s: float
  ) -> Reply:
    """Elaborates Lean text on top of an environment.

    Args:
      text: Lean commands.
      env: the environment to start from; None for an empty one.
      timeout_s: for the whole exchange.

    Raises:
      WorkerFailure: there is no reply to be sure of.
    """
    request: dict[str, Any] = {"cmd": text}
    if env is not None:
      request["env"] = env
    line = json.dumps(request, ensure_ascii=False)
    reply = parse_reply(self.exchange(line, timeout_s=timeout_s))
    if reply.env != self._num_envs:
      raise violation(f"environment {reply.env} instead of {self._num_envs}")
    self._num_envs += 1
    return reply

  def exchange(self, request: str, *, timeout_s: float) -> dict[str, Any]:
    """Sends one request and reads the one frame that answers it.

    Raises:
      WorkerFailure: no whole frame, more than one, or not a JSON object.
    """
    deadline = time.monotonic() + timeout_s
    self.check_quiet()
    frame = self._round_trip(f"{request}\n\n".encode(), deadline)
    self.check_quiet()
    try:
      reply = json.loads(frame.decode())
    except (ValueError, RecursionError) as error:
      raise violation(f"reply is not JSON: {frame[:200]!r}") from error
    if not isinstance(reply, dict):
      raise violation(f"reply is not an object: {frame[:200]!r}")
    return reply

  def check_quiet(self) -> None:
    """Raises WorkerFailure if the process ended or said more than asked."""
    chunk = b""
    if self._poll({self._process.stdout.fileno(): select.POLLIN}, 0.0):
      chunk = self._read()
    if self._buffer or chunk:
      unasked = bytes(self._buffer or chunk)[:200]
      raise violation(f"unasked output: {unasked!r}")

  def kill(self) -> None:
    """Ends the process and its group; may be called from any thread."""
    with self._kill_lock:
      # A reaped process's number may already be another's.
      if self._process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
          os.killpg(self._process.pid, signal.SIGKILL)

  def close(self) -> None:
    """Kills and reaps the process and frees every descriptor."""
    self.kill()
    with self._kill_lock:
      self._process.wait()
    os.close(self._stopped_w)
    self._drain.join()
    os.close(self._stopped_r)
    for pipe in (
      self._process.stdin,
      self._process.stdout,
      self._process.stderr,
    ):
      pipe.close()

  def _round_trip(self, request: bytes, deadline: float) -> bytes:
    """Writes and reads at once, so that neither side can block the other."""
    stdin, stdout = self._process.stdin, self._process.stdout
    unsent = memoryview(request)
    searched = 0
    while True:
      end = self._buffer.find(b"\n\n", searched)
      if end >= 0 and not unsent:
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return frame
      searched = max(len(self._buffer) - 1, 0)
      interest = {stdout.fileno(): select.POLLIN}
      if unsent:
        interest[stdin.fileno()] = select.POLLOUT
      ready = self._poll(interest, deadline - time.monotonic())
      if not ready:
        raise self._silent()
      if unsent and stdin.fileno() in ready:
        unsent = unsent[self._write(unsent) :]
      if stdout.fileno() in ready:
        self._buffer += self._read()
      if len(self._buffer) > _MAX_REPLY_BYTES:
        raise violation(f"reply of more than {_MAX_REPLY_BYTES} bytes")

  def _poll(self, interest: Mapping[int, int], timeout_s: float) -> set[int]:
    poll = select.poll()
    for descriptor, events in interest.items():
      poll.register(descriptor, events)
    return {ready for ready, _ in poll.poll(max(timeout_s, 0.0) * 1000)}

  def _write(self, data: memoryview) -> int:
    try:
      return os.write(self._process.stdin.fileno(), data[:_CHUNK_BYTES])
    except BlockingIOError:
      return 0
    except BrokenPipeError:
      raise self._ended() from None

  def _read(self) -> bytes:
    chunk = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
    if not chunk:
      raise self._ended()
    return chunk

  def _silent(self) -> WorkerFailure:
    """Why nothing came; a descendant may hold the pipe of a dead process."""
    with self._kill_lock:
      ended = self._process.poll() is not None
    if ended:
      return self._ended()
    return WorkerFailure(Status.TIMEOUT, "no reply in time")

  def _ended(self) -> WorkerFailure:
    """Why there is no more output: out of memory or any other crash."""
    code = None
    with self._kill_lock, contextlib.suppress(subprocess.TimeoutExpired):
      code = self._process.wait(timeout=_EXIT_GRACE_S)
    self._drain.join(timeout=_EXIT_GRACE_S)
    tail = b"".join(self._tail)[-2000:].decode(errors="replace").strip()
    starved = any(word in tail for word in _MEMORY_WORDS)
    starved |= code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    status = Status.OUT_OF_MEMORY if starved else Status.CRASH
    ended = "output closed" if code is None else f"exit code {code}"
    return WorkerFailure(status, f"{ended}; {tail}")

  def _drain_stderr(self) -> None:
    """Keeps the end of stderr; a full pipe would block the process."""
    stderr = self._process.stderr.fileno()
    while True:
      ready = self._poll(
        {stderr: select.POLLIN, self._stopped_r: select.POLLIN}, 3600.0
      )
      if self._stopped_r in ready:
        return
      chunk = os.read(stderr, _CHUNK_BYTES) if stderr in ready else b""
      if stderr in ready and not chunk:
        return
      self._tail.append(chunk)
