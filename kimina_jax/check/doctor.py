"""Diagnosis of the checker: what is installed, and whether it can be trusted.

In: the settings of the checker. Out: findings, as they are made: which programs
are installed, how workers are isolated, whether plain proofs are accepted and
how fast, and whether every attack and every false statement of attacks.py is
refused. The configured checker is used, as a run would use it; nothing is
changed.
"""

import dataclasses
import json
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
  Probe,
  attacks,
  canaries,
  proofs,
)
from kimina_jax.infra import interruption
from kimina_jax.types import Status, UsageError, Verdict
from kimina_jax.verification.messages import printable
from kimina_jax.verification.pool import VerificationPool, wait_for_verdict
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
_WIDTH = 40  # of the column with the subjects


class Finding(NamedTuple):
  """One result of the diagnosis.

  Attributes:
    what: subject: a program, a property, or a proof that was tried.
    state: `ok`, `missing` (there is a weaker replacement, or no need) or
      `wrong`.
    text: result.
    remedy: what to do, in one line; "" if nothing.
  """

  what: str
  state: str
  text: str
  remedy: str = ""


def run_doctor(settings: CheckerSettings, *, as_json: bool) -> int:
  """Prints all findings; returns 0 if nothing is wrong, else 2."""
  console = Console(highlight=False)
  is_well = True
  for finding in examine(settings):
    is_well &= finding.state != "wrong"
    if as_json:
      print(json.dumps(finding._asdict()), flush=True)
    else:
      print_finding(console, finding)
  if not as_json:
    print_conclusion(console, is_well=is_well)
  return 0 if is_well else 2


def examine(settings: CheckerSettings) -> Iterator[Finding]:
  """Yields all findings, those that cost little time first.

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


def print_finding(console: Console, finding: Finding) -> None:
  """Prints a finding in one line, and its remedy in another."""
  mark, colour = _MARKS[finding.state]
  text = Text.assemble((f"{mark} ", colour))
  text.append(f"{finding.what:<{_WIDTH}} ", "bold")
  text.append(printable(finding.text))
  if finding.remedy:
    text.append(f"\n  → {printable(finding.remedy)}", colour)
  console.print(text, soft_wrap=True)


def print_conclusion(console: Console, *, is_well: bool) -> None:
  """Prints the conclusion, in one line."""
  if is_well:
    console.print("[green]All checks passed.")
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
    "workers are confined by rlimits alone, and can use files and network",
  )


def _cgroups() -> Finding:
  root = memory.find_cgroup_root()
  if root:
    return Finding("memory control group", "ok", str(root))
  return Finding(
    "memory control group",
    "missing",
    "no cgroup delegated to this user",
    "start under `systemd-run --user --scope`; without it a watchdog samples "
    "each worker's memory a few times a second",
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
  """First line of `PROGRAM --version`; "" if it is not installed."""
  path = shutil.which(program)
  if path is None:
    return ""
  try:
    done = subprocess.run(
      [path, "--version"],
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=_VERSION_TIMEOUT_S,
    )
  except (OSError, subprocess.TimeoutExpired) as error:
    return f"{path}, whose --version fails: {error}"
  return (done.stdout or done.stderr).strip().split("\n")[0] or path


def _program(what: str, command: str, key: str) -> Finding:
  try:
    argv = shlex.split(command)
  except ValueError:  # a quotation mark is not closed
    argv = []
  program = shutil.which(argv[0]) if argv else None
  if program is not None:
    return Finding(what, "ok", program)
  return Finding(
    what,
    "wrong",
    f"checker.{key} {command!r} is not found or not executable",
    f"set --config.checker.{key}, or {_INSTALL}",
  )


def _lean_path(lean_path: str) -> Finding:
  """Entries of LEAN_PATH must be absolute: workers run in other directories."""
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
  """Tries proofs with one new worker and without a cache of verdicts."""
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
  """Plain proofs; the first one imports the header, the others reuse it."""
  for number, probe in enumerate(proofs(header=header)):
    future = pool.submit(probe.problem, probe.extraction, confirm=confirm)
    verdict = wait_for_verdict(future, interruption.check)
    what = f"proof {'from cold' if number == 0 else 'warm'}"
    if not verdict.proved:
      yield Finding(what, "wrong", probe.name, _reason(verdict))
      return
    seconds = f"{verdict.load_s:.3f} s loading, {verdict.exec_s:.3f} s checking"
    yield Finding(what, "ok", f"{probe.name}: {seconds}")
    if confirm and not verdict.confirmed:
      yield Finding(
        "second verifier",
        "wrong",
        f"does not confirm {probe.name}",
        "look at --config.checker.second_command",
      )


def _refused(
  pool: VerificationPool, kind: str, probes: Sequence[Probe]
) -> Iterator[Finding]:
  """Proofs that must get a verdict, and must not be accepted."""
  futures = [pool.submit(q.problem, q.extraction) for q in probes]
  for probe, future in zip(probes, futures, strict=True):
    verdict = wait_for_verdict(future, interruption.check)
    what = f"{kind}: {probe.name}"
    if verdict.status in (Status.PROVED, Status.DISPUTED):
      yield Finding(
        what,
        "wrong",
        "ACCEPTED",
        "do not train with this checker: it accepts what is false",
      )
    elif verdict.status is Status.INFRA_ERROR:
      yield Finding(what, "wrong", "not judged", _reason(verdict))
    else:
      yield Finding(what, "ok", verdict.status)


def _reason(verdict: Verdict) -> str:
  """Reason of a verdict, in one line."""
  texts = [verdict.detail, *(m.text for m in verdict.messages)]
  return f"{verdict.status}: {' '.join(' '.join(texts).split())[:300]}"
