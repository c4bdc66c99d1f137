"""Settings of the checker: the section `checker` of an experiment.

In: the values of the section. Out: a CheckerSettings, or a UsageError that
names the value and the remedy. It starts no program and looks for none; what is
not installed, the backend refuses when it is made (see pool.make_backend).
"""

import dataclasses
from collections.abc import Sequence

from kimina_jax.types import check_numbers, require

ISOLATION_CHOICES = ("auto", "bwrap", "rlimit", "none")

_COUNTS = ("num_workers", "max_imports", "max_pending", "max_uses")
_POSITIVE = (
  "queue_timeout_s",
  "load_timeout_s",
  "exec_timeout_s",
  "memory_gib",
  "address_gib",
  "second_timeout_s",
)


@dataclasses.dataclass(frozen=True)
class CheckerSettings:
  """Settings of one verification pool.

  Attributes:
    backend: name of a backend, one of pool.BACKENDS.
    command: for `repl`: the command line of a Lean REPL.
    lean_path: for `repl`: LEAN_PATH of the REPL.
    urls: for `server`: the URLs of Kimina Lean Servers.
    num_workers: proofs that are checked at the same time.
    num_standby: standby workers: processes with the imports loaded that take
      the place of a worker that is replaced.
    max_imports: workers that import a header at the same time.
    max_pending: proofs that may wait in the queue; beyond, `submit` blocks.
    queue_timeout_s: a proof that waited longer for a worker is an INFRA_ERROR.
    load_timeout_s: time to start a worker and import a header.
    exec_timeout_s: time to check one proof.
    max_uses: proofs after which a worker is replaced.
    memory_gib: limit of one worker's anonymous memory.
    address_gib: limit of one worker's address space; Lean maps gigabytes of
      files.
    isolation: one of ISOLATION_CHOICES; `auto` is `bwrap` where it works, else
      `rlimit`.
    allow_none: must be True for the isolation `none`.
    max_heartbeats: ceiling of Lean's option of that name, in headers and
      proofs.
    native_decide: whether proofs may trust Lean's compiler.
    verdict_cache: file that keeps verdicts from one run to the next; "" is
      none.
    second_command: command line of the second verifier; "" is none.
    second_share: share of the accepted proofs that the second verifier checks,
      besides the first accepted proof of each problem, which it always checks.
    second_timeout_s: time for one check of the second verifier.
  """

  backend: str
  command: str
  lean_path: str
  urls: Sequence[str]
  num_workers: int
  num_standby: int
  max_imports: int
  max_pending: int
  queue_timeout_s: float
  load_timeout_s: float
  exec_timeout_s: float
  max_uses: int
  memory_gib: float
  address_gib: float
  isolation: str
  allow_none: bool
  max_heartbeats: int
  native_decide: bool
  verdict_cache: str
  second_command: str
  second_share: float
  second_timeout_s: float

  def __post_init__(self):
    check_numbers("checker", self, counts=_COUNTS)
    for name in _POSITIVE:
      number = getattr(self, name)
      _check(number > 0, name, number, "it must be positive")
    _check(
      self.max_heartbeats >= 1,
      "max_heartbeats",
      self.max_heartbeats,
      "choose a finite ceiling; without one a proof may run forever",
    )
    _check(
      self.second_share <= 1,
      "second_share",
      self.second_share,
      "choose a share of the accepted proofs, from 0 to 1",
    )
    _check(
      self.isolation in ISOLATION_CHOICES,
      "isolation",
      repr(self.isolation),
      f"choose one of {', '.join(ISOLATION_CHOICES)}",
    )
    _check(
      self.isolation != "none" or self.allow_none,
      "isolation",
      "'none'",
      "proofs would run as you, with your files and your network; set "
      "checker.allow_none=True if that is meant, or choose 'auto'",
    )
    _check(
      self.backend != "server" or bool(self.urls),
      "urls",
      self.urls,
      "name the servers, as in ('http://lean-1:8000',)",
    )


def _check(is_right: bool, name: str, value: object, remedy: str) -> None:
  require(is_right, f"checker.{name}", value, remedy)
