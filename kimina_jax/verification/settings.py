"""How to check, and with how much of the machine: a config's `checker` section.

In: values. Out: Settings, or a UsageError with the value and the remedy. Looks
at no program and starts none; what is not installed, backend.py refuses.
"""

import dataclasses
import math
from collections.abc import Sequence

from kimina_jax.types import require

BACKENDS = ("minilean", "repl", "server")
ISOLATIONS = ("auto", "bwrap", "rlimit", "none")

_COUNTS = ("num_workers", "max_imports", "max_pending", "max_uses")
_POSITIVE = (
  *("queue_timeout_s", "load_timeout_s", "exec_timeout_s"),
  *("memory_gib", "address_gib", "second_timeout_s"),
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of one pool.

  Attributes:
    backend: of BACKENDS.
    command: command line of a Lean REPL, for `repl`.
    lean_path: LEAN_PATH of that REPL.
    urls: of Kimina Lean Servers, for `server`.
    num_workers: proofs that are checked at once.
    num_spares: processes that stand by with the header imported, to take the
      place of one that is replaced.
    max_imports: processes that import a header at once.
    max_pending: proofs that may wait; who submits another one waits.
    queue_timeout_s: a proof that waited so long is an INFRA_ERROR.
    load_timeout_s: to start a worker and import a header.
    exec_timeout_s: to check one proof.
    max_uses: proofs before a worker is replaced.
    memory_gib: anonymous memory of one worker.
    address_gib: address space of one worker; Lean maps gigabytes of files.
    isolation: of ISOLATIONS.
    allow_none: whether `none` is acceptable as isolation.
    max_heartbeats: ceiling of the option of that name, in headers and proofs.
    native_decide: whether proofs may trust the compiler.
    store: file that keeps verdicts from one run to the next; "" keeps none.
    second_command: another verifier, which is asked of chosen proofs; "" asks
      nobody.
    second_share: of the other accepted proofs, that it is asked of.
    second_timeout_s: for one of its answers.
  """

  backend: str
  command: str
  lean_path: str
  urls: Sequence[str]
  num_workers: int
  num_spares: int
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
  store: str
  second_command: str
  second_share: float
  second_timeout_s: float

  def __post_init__(self):
    for name in _COUNTS:
      number = getattr(self, name)
      _check(number >= 1, name, number, "it must be at least 1")
    for name in _POSITIVE:
      number = getattr(self, name)
      _check(0 < number < math.inf, name, number, "it must be positive")
    _check(
      self.num_spares >= 0,
      "num_spares",
      self.num_spares,
      "choose how many processes stand by, or 0 for none",
    )
    _check(
      self.max_heartbeats >= 1,
      "max_heartbeats",
      self.max_heartbeats,
      "choose a finite ceiling; without one a proof may run forever",
    )
    _check(
      0 <= self.second_share <= 1,
      "second_share",
      self.second_share,
      "choose a share of the accepted proofs, from 0 to 1",
    )
    _check_choices(self)


def _check_choices(settings: Settings) -> None:
  for name, choices in (("backend", BACKENDS), ("isolation", ISOLATIONS)):
    choice = getattr(settings, name)
    _check(
      choice in choices, name, repr(choice), f"choose of {', '.join(choices)}"
    )
  _check(
    settings.isolation != "none" or settings.allow_none,
    "isolation",
    "'none'",
    "proofs would run as you, with your files and your network; say "
    "checker.allow_none=True if that is meant, or choose 'auto'",
  )
  _check(
    settings.backend != "server" or settings.urls,
    "urls",
    settings.urls,
    "name the servers, as in ('http://lean-1:8000',)",
  )


def _check(is_right: bool, name: str, value: object, remedy: str) -> None:
  require(is_right, f"checker.{name}", value, remedy)
