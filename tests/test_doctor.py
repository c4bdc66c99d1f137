"""The doctor reports every fault, and none where there is none."""

import io
import json
import pathlib
import subprocess
import sys

import pytest
from rich.console import Console

from kimina_jax.check import doctor
from kimina_jax.check.attacks import MATHLIB, attacks, canaries, proofs
from kimina_jax.configs import common
from kimina_jax.verification.settings import CheckerSettings

HERE = pathlib.Path(__file__).resolve().parent
FAKE = f"{sys.executable} -I -S {HERE / 'fake_repl.py'}"


def settings(**changes) -> CheckerSettings:
  return CheckerSettings(**{**common.get_config().checker, **changes})


def of_kind(findings, kind):
  return [f for f in findings if f.what.startswith(f"{kind}: ")]


@pytest.fixture(scope="module")
def embedded():
  return list(doctor.examine(settings()))


def test_the_embedded_checker_is_well(embedded):
  assert [f for f in embedded if f.state == "wrong"] == []
  assert all(bool(f.remedy) == (f.state != "ok") for f in embedded)
  assert not any("\n" in f.remedy for f in embedded)
  texts = {f.what: f.text for f in embedded}
  assert texts["backend"].startswith("minilean: minilean ")
  assert texts["isolation in force"] in ("bwrap", "rlimit")
  assert {"python", "bwrap", "elan", "lake", "lean"} <= texts.keys()
  assert {
    "memory control group",
    "proof from cold",
    "proof warm",
  } <= texts.keys()


def test_every_attack_and_canary_is_tried(embedded):
  names = [f.what.partition(": ")[2] for f in of_kind(embedded, "attack")]
  assert names == [a.name for a in attacks(header=MATHLIB)]
  assert len(set(names)) >= 20
  found = of_kind(embedded, "canary")
  assert len(found) == len(canaries(header=MATHLIB)) > len(canaries(header=""))
  # Tactics were tried, not merely words refused.
  assert {f.text for f in found} == {"lean_error"}


def test_attacks_claim_what_is_false():
  """All claim one false statement, each by another text."""
  texts = [a.final for a in attacks(header="")]
  assert len(set(texts)) == len(texts)
  problems = {a.problem for a in attacks(header="")}
  assert [p.statement for p in problems] == [
    "theorem doctor_claim : 2 + 2 = 5 := by"
  ]
  assert all(q.problem.statement in q.final for q in proofs(header=""))


def test_a_checker_that_accepts_everything_is_detected():
  """The attacks are refused before it runs; the canaries reach it."""
  bad = settings(backend="repl", command=FAKE, isolation="rlimit")
  findings = list(doctor.examine(bad))
  assert {f.state for f in of_kind(findings, "attack")} == {"ok"}
  canary = of_kind(findings, "canary")
  # Without a Mathlib none is tried that needs it.
  assert len(canary) == len(canaries(header=""))
  assert {(f.state, f.text) for f in canary} == {("wrong", "ACCEPTED")}
  found = {f.what: f for f in findings}
  assert found["LEAN_PATH"].state == "missing"
  assert found["REPL"].state == "ok"


def test_a_checker_that_fails_gets_no_further_probes():
  command = f"{sys.executable} -c pass"
  bad = settings(backend="repl", command=command, isolation="rlimit")
  findings = list(doctor.examine(bad))
  assert findings[-1].what == "proof from cold"
  assert findings[-1].state == "wrong"
  assert findings[-1].remedy.startswith("infra_error: ")
  assert of_kind(findings, "attack") == []


@pytest.mark.parametrize(
  ("changes", "what", "words"),
  [
    ({"command": "no-such-repl"}, "REPL", "'no-such-repl' is not found"),
    ({"command": ""}, "REPL", "'' is not found"),
    (
      {"command": FAKE, "lean_path": "lib:/usr"},
      "LEAN_PATH",
      "'lib' is no absolute path",
    ),
    (
      {"command": FAKE, "lean_path": "/usr:/no/such"},
      "LEAN_PATH",
      "'/no/such' is no absolute path of a directory",
    ),
    (
      {"command": FAKE, "second_command": "no-such-verifier {proof}"},
      "second verifier",
      "second_command 'no-such-verifier {proof}' is not found",
    ),
  ],
)
def test_what_is_missing_has_a_remedy(changes, what, words):
  findings = []
  bad = settings(backend="repl", isolation="rlimit", **changes)
  for finding in doctor.examine(bad):
    findings.append(finding)
    if finding.what == what:
      break
  assert findings[-1].what == what and findings[-1].state == "wrong"
  assert words in findings[-1].text
  assert findings[-1].remedy


def test_mathlib_is_searched_for(tmp_path):
  (tmp_path / "Mathlib.olean").touch()
  found = doctor._lean_path(f"/usr:{tmp_path}")
  assert (found.state, found.text) == ("ok", "2 places, with Mathlib")


def test_findings_are_lines():
  file = io.StringIO()
  console = Console(file=file, width=60, highlight=False)
  doctor.print_finding(console, doctor.Finding("lean", "ok", "4.15\x1b[2J"))
  doctor.print_finding(
    console, doctor.Finding("bwrap", "missing", "none", "install it")
  )
  doctor.print_conclusion(console, is_well=True)
  doctor.print_conclusion(console, is_well=False)
  lines = file.getvalue().splitlines()
  assert lines[0].split() == ["✓", "lean", "4.15\ufffd[2J"]
  assert lines[1].split() == ["!", "bwrap", "none"]
  assert lines[2] == "  → install it"
  assert "All checks passed" in lines[3] and "not fit" in lines[4]


def run(*flags):
  return subprocess.run(
    [sys.executable, "-m", "kimina_jax.check", "--doctor", *flags],
    cwd=HERE.parent,
    capture_output=True,
    encoding="utf-8",
    timeout=120,
  )


def test_the_command_line_works_out_of_the_box():
  done = run()
  assert done.returncode == 0, done.stdout + done.stderr
  assert done.stderr == ""
  assert done.stdout.endswith("All checks passed.\n")


def test_the_command_line_says_what_is_wrong():
  done = run(
    "--json",
    "--config.checker.backend=repl",
    "--config.checker.isolation=rlimit",
    f"--config.checker.command={FAKE}",
  )
  assert done.returncode == 2
  rows = [json.loads(line) for line in done.stdout.splitlines()]
  assert {frozenset(row) for row in rows} == {
    frozenset(("what", "state", "text", "remedy"))
  }
  assert any(row["state"] == "wrong" for row in rows)
