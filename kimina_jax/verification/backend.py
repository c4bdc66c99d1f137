"""What a backend promises, whatever it is: a local REPL, minilean, a server.

In: the settings. Out: a Backend, whose `start` makes Checkers. Starts nothing
itself.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from kimina_jax.types import Verdict
from kimina_jax.verification.acceptance.audit import Audit


class Checker(Protocol):
  """Something that judges one audit at a time.

  It never raises but OSError at its start: what goes wrong is a verdict, and
  after a doubt it calls itself broken and its owner replaces it.

  Attributes:
    num_uses: audits so far.
    broken: whether it must be replaced.
    pid: of its process; 0 if it has none here.
  """

  num_uses: int
  broken: bool
  pid: int

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Gets import lines ready; an INFRA_ERROR if that fails."""

  def check(self, audit: Audit, *, timeout_s: float) -> Verdict:
    """Runs an audit whose imports are loaded."""

  def starve(self) -> None:
    """As kill, for its memory: the call in progress is OUT_OF_MEMORY."""

  def kill(self) -> None:
    """Makes the call in progress end soon; from any thread."""

  def close(self) -> None:
    """Frees what it holds."""


@dataclasses.dataclass(frozen=True)
class Backend:
  """Which program checks, and how to get one.

  Attributes:
    name: of settings.BACKENDS.
    toolchain: what its verdicts depend on besides the proof: versions and
      digests, in one line; equal lines give equal verdicts.
    isolation: in force: `bwrap`, `rlimit`, `none` or `remote`.
    start: makes a Checker; OSError if it cannot.
  """

  name: str
  toolchain: str
  isolation: str
  start: Callable[[], Checker]
