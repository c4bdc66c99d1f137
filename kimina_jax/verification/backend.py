"""The interface of a checker backend: Backend and Worker.

A backend is one way to run Lean: the embedded minilean, a Lean REPL, or Kimina
Lean Servers. pool.make_backend chooses among them; to add one, write a function
that takes CheckerSettings and returns a Backend.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from kimina_jax.types import Verdict
from kimina_jax.verification.acceptance.audit import Audit


class Worker(Protocol):
  """A checker process, or a connection to one, that runs one audit at a time.

  Its methods raise nothing: every failure is a verdict. A worker that can
  no longer be trusted sets `must_replace`, and its owner replaces it.

  Attributes:
    num_uses: audits that it has run.
    must_replace: whether it can no longer be trusted: its process crashed,
      timed out, broke the protocol or was killed.
  """

  num_uses: int
  must_replace: bool

  @property
  def pid(self) -> int:
    """The process id; 0 if the worker has no process on this machine."""

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Loads import lines; returns an INFRA_ERROR if that fails."""

  def check(self, audit: Audit, *, timeout_s: float) -> Verdict:
    """Runs an audit whose imports are loaded."""

  def kill_for_memory(self) -> None:
    """As kill; the verdict of the call in progress is OUT_OF_MEMORY."""

  def kill(self) -> None:
    """Makes the call in progress end soon; any thread may call it."""

  def close(self) -> None:
    """Ends the process and frees its resources."""


@dataclasses.dataclass(frozen=True)
class Backend:
  """A program that checks proofs, and how to start workers of it.

  Attributes:
    name: one of pool.BACKENDS.
    toolchain: versions and digests of all that a verdict depends on besides
      the proof, in one line; equal lines give equal verdicts.
    isolation: the isolation in force, one of stats.ISOLATION_MODES.
    start: starts a worker; raises OSError if it cannot.
  """

  name: str
  toolchain: str
  isolation: str
  start: Callable[[], Worker]
