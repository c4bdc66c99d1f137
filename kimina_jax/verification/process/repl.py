"""REPL client: runs a Lean REPL as a child process and exchanges commands.

In: Lean commands. Out: Replies. The protocol is that of
leanprover-community/repl: a request is a JSON object and a blank line, a reply
is a JSON object over several lines and a blank line. Whatever else the process
does (ends, hangs, prints something else, replies before a request, counts its
environments wrongly) raises `WorkerFailure`, after which the Repl must be
closed; a doubtful reply is never returned.
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
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.types import Status
from kimina_jax.verification.process.memory import descendants
from kimina_jax.verification.process.protocol import (
  WorkerFailure,
  parse_frame,
  parse_reply,
  violation,
)
from kimina_jax.verification.replies import Reply

_MAX_REPLY_BYTES = 16 * 2**20
_MAX_STDERR_BYTES = 256 * 2**20
_EXIT_GRACE_S = 1.0
_MAX_WAIT_S = 1e6  # poll() takes no more
_CHUNK_BYTES = 2**16
_TAIL_CHUNKS = 4
_MEMORY_ERRORS = ("out of memory", "bad_alloc", "MemoryError", "mmap failed")
_END = b"\n\n"
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class Repl:
  """Owns the process, its pipes and its process group.

  One thread at a time may run commands; any thread may kill the process.

  Attributes:
    pid: the process id.
  """

  def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]):
    """Starts the process.

    A sandboxed process ends with the thread that calls this.

    Args:
      argv: the command, sandbox included.
      env: the whole environment of the process.

    Raises:
      OSError: the command cannot be started.
    """
    self._num_envs = 0
    self._unsent = memoryview(b"")
    self._polls_stdin = False  # whether poll() reports room in the pipe
    self._buffer = bytearray()
    self._num_searched = 0
    self._num_stderr_bytes = 0
    self._tail: collections.deque[bytes] = collections.deque(
      maxlen=_TAIL_CHUNKS
    )
    self._lock = threading.Lock()
    # Why the owner has killed the process.
    self._cause: tuple[Status, str] | None = None
    self._process = subprocess.Popen(
      argv,
      env=dict(env),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      bufsize=0,
      start_new_session=True,
    )
    self.pid = self._process.pid
    self._pipes = [
      pipe
      for pipe in (
        self._process.stdin,
        self._process.stdout,
        self._process.stderr,
      )
      if pipe is not None
    ]
    self._in, self._out, self._err = (pipe.fileno() for pipe in self._pipes)
    for descriptor in (self._in, self._out, self._err):
      os.set_blocking(descriptor, False)
    self._exit = -1
    try:
      # Reports the end of the process even if a descendant keeps its pipes.
      self._exit = os.pidfd_open(self.pid)
    except OSError:
      self.close()
      raise
    self._poll = select.poll()
    for descriptor in (self._out, self._err, self._exit):
      self._poll.register(descriptor, select.POLLIN)

  def run_command(
    self, text: str, *, env: int | None = None, timeout_s: float
  ) -> Reply:
    """Elaborates Lean text on top of an environment.

    Args:
      text: Lean commands.
      env: the environment to start from; None for an empty one.
      timeout_s: for the whole exchange.

    Raises:
      WorkerFailure: there is no reply that can be trusted.
    """
    deadline = time.monotonic() + timeout_s
    (reply,) = self.run_commands((text,), env=env, deadline=deadline)
    return reply

  def run_commands(
    self, texts: Sequence[str], *, env: int | None = None, deadline: float
  ) -> Iterator[Reply]:
    """Elaborates texts, each in the environment after the one before it.

    All are sent before the first reply is read. The caller must take every
    reply or close the Repl.

    Args:
      texts: Lean commands.
      env: the environment of the first; None for an empty one.
      deadline: for all of them, by time.monotonic().

    Yields:
      The reply to each text, as soon as it has arrived.

    Raises:
      WorkerFailure: there is no further reply that can be trusted; those before
        it can be.
    """
    requests = []
    for number, text in enumerate(texts, self._num_envs):
      requests.append(_request(text, env))
      env = number
    self._send("".join(requests).encode())
    for left in range(len(texts) - 1, -1, -1):
      frame = self._receive(deadline)
      if not left:
        self.check_quiet()
      reply = parse_reply(parse_frame(frame))
      if reply.env != self._num_envs:
        raise violation(f"environment {reply.env} instead of {self._num_envs}")
      self._num_envs += 1
      yield reply

  def check_quiet(self) -> None:
    """Raises WorkerFailure if the process ended or printed an extra frame."""
    if ready := self._poll.poll(0):
      self._take(ready)
    if self._buffer:
      raise violation(f"unasked output: {bytes(self._buffer[:200])!r}")
    if self._unsent:
      raise violation("a reply to a request that was not yet sent")

  def kill(self) -> None:
    """Kills the process and its descendants; any thread may call it."""
    self._kill(Status.CRASH, "killed by its owner")

  def kill_for_memory(self) -> None:
    """As kill(); the failure of the call in progress is OUT_OF_MEMORY."""
    self._kill(Status.OUT_OF_MEMORY, "more memory than its limit")

  def close(self) -> None:
    """Kills and reaps the process, and closes every descriptor."""
    self.kill()
    with self._lock:
      self._process.wait()
    for pipe in self._pipes:
      pipe.close()
    if self._exit >= 0:
      os.close(self._exit)
      self._exit = -1

  def _send(self, data: bytes) -> None:
    """Starts to send; _receive() sends the rest."""
    self.check_quiet()
    self._num_stderr_bytes = 0
    self._unsent = memoryview(data)
    self._write()

  def _receive(self, deadline: float) -> bytes:
    """The next frame, without the blank line that ends it.

    Writes and reads in one loop, so that a full pipe cannot block both sides.
    """
    while True:
      end = self._buffer.find(_END, self._num_searched)
      if end >= 0:
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END)]
        self._num_searched = 0
        return frame
      self._num_searched = max(len(self._buffer) - 1, 0)
      if len(self._buffer) > _MAX_REPLY_BYTES:
        raise violation(f"reply of more than {_MAX_REPLY_BYTES} bytes")
      left_s = deadline - time.monotonic()
      left_s = min(left_s, _MAX_WAIT_S)
      ready = self._poll.poll(left_s * 1000) if left_s > 0 else ()
      if not ready:
        raise self._late()
      self._take(ready)
      if self._unsent:
        self._write()

  def _take(self, ready: Sequence[tuple[int, int]]) -> None:
    """Reads once from each pipe that poll() reports."""
    has_output, has_exited = False, False
    for descriptor, _ in ready:
      if descriptor == self._out:
        self._buffer += self._read()
        has_output = True
      elif descriptor == self._err and not self._drain():
        self._poll.unregister(
          self._err
        )  # at its end, poll() would report it forever
      elif descriptor == self._exit:
        has_exited = True
    if has_exited and not has_output:
      raise self._ended()

  def _write(self) -> None:
    """Writes as much as the pipe takes; poll() reports when it takes more."""
    try:
      self._unsent = self._unsent[os.write(self._in, self._unsent) :]
    except BlockingIOError:
      pass
    except BrokenPipeError:
      raise self._ended() from None
    if self._unsent:
      self._poll.register(self._in, select.POLLOUT)
    elif self._polls_stdin:
      self._poll.unregister(self._in)
    self._polls_stdin = bool(self._unsent)

  def _read(self) -> bytes:
    chunk = os.read(self._out, _CHUNK_BYTES)
    if not chunk:
      raise self._ended()
    return chunk

  def _drain(self) -> bool:
    """Reads stderr, which must not fill, and keeps its end; False at EOF."""
    try:
      chunk = os.read(self._err, _CHUNK_BYTES)
    except BlockingIOError:
      return True
    if not chunk:
      return False
    self._tail.append(chunk)
    self._num_stderr_bytes += len(chunk)
    if self._num_stderr_bytes > _MAX_STDERR_BYTES:
      raise violation(f"more than {_MAX_STDERR_BYTES} bytes on stderr")
    return True

  def _late(self) -> WorkerFailure:
    """The failure at the deadline."""
    return WorkerFailure(*(self._cause or (Status.TIMEOUT, "no reply in time")))

  def _ended(self) -> WorkerFailure:
    """The failure at the end of the output: OUT_OF_MEMORY or CRASH."""
    code = self._reap()
    for _ in range(_TAIL_CHUNKS):
      self._drain()
    tail = b"".join(self._tail)[-2000:].decode(errors="replace").strip()
    if self._cause is not None:
      return WorkerFailure(*self._cause)
    is_memory = any(words in tail for words in _MEMORY_ERRORS)
    is_memory |= code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    status = Status.OUT_OF_MEMORY if is_memory else Status.CRASH
    ended = "output closed" if code is None else f"exit code {code}"
    return WorkerFailure(status, f"{ended}; {tail}")

  def _reap(self) -> int | None:
    """The exit code; None if the process runs on after closing its output."""
    exited = select.poll()
    exited.register(self._exit, select.POLLIN)
    if not exited.poll(_EXIT_GRACE_S * 1000):
      return None
    with self._lock:
      # Until it is reaped, its process id still names its group.
      self._kill_group()
      return self._process.wait()

  def _kill(self, status: Status, detail: str) -> None:
    with self._lock:
      self._cause = self._cause or (status, detail)
      if self._process.returncode is not None:
        return
      self._kill_descendants()
      self._kill_group()

  def _kill_descendants(self) -> None:
    """Kills all descendants, stopped first so that they cannot fork."""
    _signal(-self.pid, signal.SIGSTOP)
    stopped: set[int] = set()
    while found := set(descendants(self.pid)) - stopped:
      for pid in found:
        _signal(pid, signal.SIGSTOP)
      stopped |= found
    for pid in stopped:
      _signal(pid, signal.SIGKILL)

  def _kill_group(self) -> None:
    # The id of a reaped process may already be that of another one.
    if self._process.returncode is None:
      _signal(-self.pid, signal.SIGKILL)


def _request(text: str, env: int | None) -> str:
  """The request of a command: a line of JSON and a blank line."""
  fields = f'"cmd": {_ENCODER.encode(text)}'
  if env is not None:
    fields += f', "env": {env}'
  return f"{{{fields}}}\n\n"


def _signal(pid: int, number: int) -> None:
  """As os.kill(); no error if the process has ended."""
  with contextlib.suppress(ProcessLookupError):
    os.kill(pid, number)
