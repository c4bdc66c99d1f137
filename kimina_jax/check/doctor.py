"""What is wrong with the checker, and what to do about it.

In: the settings. Out: findings, as they are made: what is installed, what
confines the checker, whether it accepts plain proofs and how fast, and whether
it refuses every attack and every false statement of attacks.py. It asks the
checker that is configured, as a run would, and changes nothing.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from kimina_jax.check.attacks import (
  MATHLIB,
  Question,
  attacks,
  canaries,
  proofs,
)
from kimina_jax.infra import interruption
from kimina_jax.types import Status, UsageError, Verdict
from kimina_jax.verification.messages import printable
from kimina_jax.verification.pool import VerdictFuture, VerificationPool
from kimina_jax.verification.process import memory
from kimina_jax.verification.process.sandbox import bwrap_problem
from kimina_jax.verification.settings import CheckerSettings

_MARKS = {
  "ok": ("✓", "green"),
  "missing": ("!", "yellow"),
  "wrong": ("✗", "red"),
}
_INSTALL = "run launch/install_lean.sh, which installs it"
_VERSION_TIMEOUT_S = 20.0
_POLL_S = 0.1
_WIDTH = 40  # of what a finding is about


class Finding(NamedTuple):
  """One thing that was looked at.

  Attributes:
    what: it is.
    state: `ok`, `missing` (something weaker takes its place, or nothing needs
      it) or `wrong`.
    text: what was found.
    remedy: what to do, in one line; "" if nothing.
  """

  what: str
  state: str
  text: str
  remedy: str = ""


def examine(settings: CheckerSettings) -> Iterator[Finding]:
  """Looks at everything, cheap things first.

  Raises:
    Interrupted: SIGTERM or SIGINT arrived.
  """
  yield Finding("python", "ok", platform.python_version())
  yield _bwrap()
  yield _cgroups()
  yield from _lean(settings)
  if settings.second_command:
    yield _program("second verifier", settings.second_command, "second_command")
  yield from _checker(settings)


def show(console: Console, finding: Finding) -> None:
  """One line, and one more for the remedy."""
  mark, colour = _MARKS[finding.state]
  text = Text.assemble((f"{mark} ", colour))
  text.append(f"{finding.what:<{_WIDTH}} ", "bold")
  text.append(printable(finding.text))
  if finding.remedy:
    text.append(f"\n  → {printable(finding.remedy)}", colour)
  console.print(text, soft_wrap=True)


def conclude(console: Console, *, is_well: bool) -> None:
  """The last line."""
  if is_well:
    console.print("[green]The checker does what it must.")
  else:
    console.print("[red]The checker is not fit for a run; see ✗ above.")


def _bwrap() -> Finding:
  problem = bwrap_problem()
  if not problem:
    return Finding("bwrap", "ok", f"{shutil.which('bwrap')} works")
  return Finding(
    "bwrap",
    "missing",
    problem,
    "install bubblewrap and allow unprivileged user namespaces; without it "
    "proofs are held by rlimits alone, and see files and network",
  )


def _cgroups() -> Finding:
  root = memory.find_cgroup_root()
  if root:
    return Finding("memory control group", "ok", str(root))
  return Finding(
    "memory control group",
    "missing",
    "none that this user may divide",
    "start under `systemd-run --user --scope`; without it a "
    "watchdog looks at each worker's memory a few times a second",
  )


def _lean(settings: CheckerSettings) -> Iterator[Finding]:
  is_needed = settings.backend == "repl"
  for name in ("elan", "lake", "lean"):
    version = _version(name)
    if version or not is_needed:
      text = version or f"not installed; {settings.backend} needs none"
      yield Finding(name, "ok", text)
    else:
      yield Finding(name, "missing", "not on PATH", _INSTALL)
  if is_needed:
    yield _program("REPL", settings.command, "command")
    yield _lean_path(settings.lean_path)
  if settings.backend == "server":
    yield Finding("servers", "ok", ", ".join(settings.urls))


def _version(program: str) -> str:
  """What it says of itself; "" if it does not."""
  path = shutil.which(program)
  if path is None:
    return ""
  try:
    asked = subprocess.run(
      [path, "--version"],
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=_VERSION_TIMEOUT_S,
    )
  except (OSError, subprocess.TimeoutExpired) as error:
    return f"{path}, which does not answer: {error}"
  return (asked.stdout or asked.stderr).strip().split("\n")[0] or path


def _program(what: str, command: str, key: str) -> Finding:
  argv = shlex.split(command)
  program = shutil.which(argv[0]) if argv else None
  if program is not None:
    return Finding(what, "ok", program)
  return Finding(
    what,
    "wrong",
    f"checker.{key} {command!r} is no program",
    f"set --config.checker.{key}, or {_INSTALL}",
  )


def _lean_path(lean_path: str) -> Finding:
  """A worker is started elsewhere, so relative entries would be nowhere."""
  places = [place for place in lean_path.split(":") if place]
  for place in places:
    if not os.path.isabs(place) or not os.path.isdir(place):
      return Finding(
        "LEAN_PATH",
        "wrong",
        f"{place!r} is no absolute path of a directory",
        "set --config.checker.lean_path to absolute directories, as "
        "launch/install_lean.sh prints them",
      )
  if _has_mathlib(lean_path):
    return Finding("LEAN_PATH", "ok", f"{len(places)} places, with Mathlib")
  return Finding(
    "LEAN_PATH", "missing", f"{len(places)} places, no Mathlib.olean", _INSTALL
  )


def _has_mathlib(lean_path: str) -> bool:
  places = map(pathlib.Path, filter(None, lean_path.split(":")))
  return any((place / "Mathlib.olean").exists() for place in places)


def _checker(settings: CheckerSettings) -> Iterator[Finding]:
  """Asks it: by one worker, afresh, and with nothing remembered."""
  alone = dataclasses.replace(
    settings, num_workers=1, num_standby=0, verdict_cache="", second_share=0.0
  )
  try:
    pool = VerificationPool(alone)
  except UsageError as error:
    yield Finding("checker", "wrong", "cannot be started", str(error))
    return
  interruption.defer()
  is_bare = settings.backend == "repl" and not _has_mathlib(settings.lean_path)
  header = "" if is_bare else MATHLIB
  with pool:
    yield Finding(
      "backend", "ok", f"{pool.backend.name}: {pool.backend.toolchain}"
    )
    yield _isolation(pool.isolation)
    is_sane = True
    for finding in _proofs(pool, header, confirm=bool(settings.second_command)):
      is_sane &= finding.state == "ok"
      yield finding
    if is_sane:
      yield from _refused(pool, "attack", attacks(header=header))
      yield from _refused(pool, "canary", canaries(header=header))


def _isolation(mode: str) -> Finding:
  if mode in ("bwrap", "remote"):
    return Finding("isolation in force", "ok", mode)
  state = "wrong" if mode == "none" else "missing"
  return Finding(
    "isolation in force",
    state,
    mode,
    "set --config.checker.isolation=bwrap once bwrap works",
  )


def _proofs(
  pool: VerificationPool, header: str, *, confirm: bool
) -> Iterator[Finding]:
  """Plain proofs; the first one waits for its imports, the others do not."""
  for number, question in enumerate(proofs(header=header)):
    future = pool.submit(question.problem, question.extraction, confirm=confirm)
    verdict = _wait(future)
    what = f"proof {'from cold' if number == 0 else 'warm'}"
    if not verdict.proved:
      yield Finding(what, "wrong", question.name, _words(verdict))
      return
    seconds = f"{verdict.load_s:.3f} s loading, {verdict.exec_s:.3f} s checking"
    yield Finding(what, "ok", f"{question.name}: {seconds}")
    if confirm and not verdict.confirmed:
      yield Finding(
        "second verifier",
        "wrong",
        f"does not confirm {question.name}",
        "look at --config.checker.second_command",
      )


def _refused(
  pool: VerificationPool, kind: str, questions: Sequence[Question]
) -> Iterator[Finding]:
  """Each must be judged, and must not be accepted."""
  futures = [pool.submit(q.problem, q.extraction) for q in questions]
  for question, future in zip(questions, futures, strict=True):
    verdict = _wait(future)
    what = f"{kind}: {question.name}"
    if verdict.status in (Status.PROVED, Status.DISPUTED):
      yield Finding(
        *(what, "wrong", "ACCEPTED"),
        "do not train with this checker: it accepts what is false",
      )
    elif verdict.status is Status.INFRA_ERROR:
      yield Finding(what, "wrong", "not judged", _words(verdict))
    else:
      yield Finding(what, "ok", verdict.status)


def _wait(future: VerdictFuture) -> Verdict:
  while not future.done():
    interruption.check()
    concurrent.futures.wait([future], timeout=_POLL_S)
  return future.result()


def _words(verdict: Verdict) -> str:
  """Why a verdict is not the one hoped for, in one line."""
  words = [verdict.detail, *(m.text for m in verdict.messages)]
  return f"{verdict.status}: {' '.join(' '.join(words).split())[:300]}"
