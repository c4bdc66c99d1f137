"""One Lean REPL as a child process: commands in, typed replies out.

The protocol is that of leanprover-community/repl: a request is a JSON object
and a blank line, a reply is a JSON object over several lines and a blank line.
Whatever else the process does (end, hang, print something of its own, answer
before it is asked, count its environments wrongly) raises `WorkerFailure`,
after which the worker must be closed; it never returns a reply it is not sure
of.
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
from typing import Any

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
_MEMORY_WORDS = ("out of memory", "bad_alloc", "MemoryError", "mmap failed")
_END = b"\n\n"
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class Repl:
  """Owns the process, its pipes and its process group.

  One thread at a time may ask; any thread may end the process.

  Attributes:
    pid: of the process.
  """

  def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]):
    """Starts the process.

    A sandboxed process ends with the thread that starts it.

    Args:
      argv: the command, sandbox included.
      env: the whole environment of the process.

    Raises:
      OSError: the command cannot be started.
    """
    self._num_envs = 0
    self._unsent = memoryview(b"")
    self._was_full = False  # the pipe, when it was last written to
    self._buffer = bytearray()
    self._num_searched = 0
    self._num_stderr_bytes = 0
    self._tail = collections.deque(maxlen=_TAIL_CHUNKS)
    self._lock = threading.Lock()
    self._cause: tuple[Status, str] | None = None  # as its owner has ended it
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
    self._pipes = (
      self._process.stdin,
      self._process.stdout,
      self._process.stderr,
    )
    self._in, self._out, self._err = (pipe.fileno() for pipe in self._pipes)
    for descriptor in (self._in, self._out, self._err):
      os.set_blocking(descriptor, False)
    self._exit = -1
    try:
      # Tells of the process's end even if a descendant holds its pipes.
      self._exit = os.pidfd_open(self.pid)
    except OSError:
      self.close()
      raise
    self._poll = select.poll()
    for descriptor in (self._out, self._err, self._exit):
      self._poll.register(descriptor, select.POLLIN)

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
    deadline = time.monotonic() + timeout_s
    (reply,) = self.chain((text,), env=env, deadline=deadline)
    return reply

  def chain(
    self, texts: Sequence[str], *, env: int | None = None, deadline: float
  ) -> Iterator[Reply]:
    """Elaborates texts, each in the environment that the one before it made.

    All are sent before the first is answered. The caller must take every reply
    or close the worker.

    Args:
      texts: Lean commands.
      env: the environment of the first; None for an empty one.
      deadline: for all of them, as of time.monotonic().

    Yields:
      A reply for each text, as soon as it is there.

    Raises:
      WorkerFailure: there is no reply to be sure of; the ones before it stand.
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

  def exchange(self, request: str, *, timeout_s: float) -> dict[str, Any]:
    """Sends one request and reads the one frame that answers it.

    Raises:
      WorkerFailure: no whole frame, more than one, or not a JSON object.
    """
    deadline = time.monotonic() + timeout_s
    self._send(request.encode() + _END)
    frame = self._receive(deadline)
    self.check_quiet()
    return parse_frame(frame)

  def check_quiet(self) -> None:
    """Raises WorkerFailure if the process ended or said more than asked."""
    if ready := self._poll.poll(0):
      self._take(ready)
    if self._buffer:
      raise violation(f"unasked output: {bytes(self._buffer[:200])!r}")
    if self._unsent:
      raise violation("an answer to a request that was not yet sent")

  def kill(self) -> None:
    """Ends the process and its descendants; from any thread."""
    self._kill(Status.CRASH, "killed by its owner")

  def starve(self) -> None:
    """As kill(), for taking too much memory: the failure will say so."""
    self._kill(Status.OUT_OF_MEMORY, "more memory than it may hold")

  def close(self) -> None:
    """Kills and reaps the process and frees every descriptor."""
    self.kill()
    with self._lock:
      self._process.wait()
    for pipe in self._pipes:
      pipe.close()
    if self._exit >= 0:
      os.close(self._exit)
      self._exit = -1

  def _send(self, data: bytes) -> None:
    """Begins to send; _receive() goes on with it."""
    self.check_quiet()
    self._num_stderr_bytes = 0
    self._unsent = memoryview(data)
    self._write()

  def _receive(self, deadline: float) -> bytes:
    """The next frame, without the blank line that ends it.

    Writes and reads at once, so that neither side can block the other.
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
    """Reads what there is, once from each pipe that poll() names."""
    said, exited = False, False
    for descriptor, _ in ready:
      if descriptor == self._out:
        self._buffer += self._read()
        said = True
      elif descriptor == self._err and not self._drain():
        self._poll.unregister(self._err)  # or its end would be told forever
      elif descriptor == self._exit:
        exited = True
    if exited and not said:
      raise self._ended()

  def _write(self) -> None:
    """Writes what the pipe takes, and asks to be told when it takes more."""
    try:
      self._unsent = self._unsent[os.write(self._in, self._unsent) :]
    except BlockingIOError:
      pass
    except BrokenPipeError:
      raise self._ended() from None
    if self._unsent:
      self._poll.register(self._in, select.POLLOUT)
    elif self._was_full:
      self._poll.unregister(self._in)
    self._was_full = bool(self._unsent)

  def _read(self) -> bytes:
    chunk = os.read(self._out, _CHUNK_BYTES)
    if not chunk:
      raise self._ended()
    return chunk

  def _drain(self) -> bool:
    """Keeps the end of stderr, which must not fill; whether it goes on."""
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
    """Why there is no reply at the deadline."""
    return WorkerFailure(*(self._cause or (Status.TIMEOUT, "no reply in time")))

  def _ended(self) -> WorkerFailure:
    """Why there is no more output: out of memory or any other crash."""
    code = self._reap()
    for _ in range(_TAIL_CHUNKS):
      self._drain()
    tail = b"".join(self._tail)[-2000:].decode(errors="replace").strip()
    if self._cause is not None:
      return WorkerFailure(*self._cause)
    starved = any(word in tail for word in _MEMORY_WORDS)
    starved |= code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    status = Status.OUT_OF_MEMORY if starved else Status.CRASH
    ended = "output closed" if code is None else f"exit code {code}"
    return WorkerFailure(status, f"{ended}; {tail}")

  def _reap(self) -> int | None:
    """The exit code; None if the process lives on without its output."""
    exited = select.poll()
    exited.register(self._exit, select.POLLIN)
    if not exited.poll(_EXIT_GRACE_S * 1000):
      return None
    with self._lock:
      # While it is not reaped, its number still names its group.
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
    """Those that have left the group, too; stopped first, they fork no more."""
    _signal(-self.pid, signal.SIGSTOP)
    stopped: set[int] = set()
    while found := set(descendants(self.pid)) - stopped:
      for pid in found:
        _signal(pid, signal.SIGSTOP)
      stopped |= found
    for pid in stopped:
      _signal(pid, signal.SIGKILL)

  def _kill_group(self) -> None:
    # A reaped process's number may already be another's.
    if self._process.returncode is None:
      _signal(-self.pid, signal.SIGKILL)


def _request(text: str, env: int | None) -> str:
  """A command as one line and a blank one."""
  fields = f'"cmd": {_ENCODER.encode(text)}'
  if env is not None:
    fields += f', "env": {env}'
  return f"{{{fields}}}\n\n"


def _signal(pid: int, number: int) -> None:
  """As os.kill(), but to end what has ended is no error."""
  with contextlib.suppress(ProcessLookupError):
    os.kill(pid, number)
