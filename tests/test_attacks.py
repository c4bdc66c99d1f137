"""Every attack is refused for its own reason; genuine proofs are accepted."""

import json
import pathlib
import re
import sys
import time

import corpus
import pytest
from acceptance import (
  HEADER,
  INNOCENT,
  PROBLEM,
  PROOF,
  REFUSALS,
  RULES,
  STATEMENT,
)

from kimina_jax.configs.common import get_config
from kimina_jax.types import Extraction, Problem, Status, Verdict
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.extract import extract
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings

HERE = pathlib.Path(__file__).parent
RECORDS = corpus.load(corpus.ATTACKS)
ATTACKS = {r["name"]: r for r in RECORDS if r["stage"] == "acceptance"}
BEHAVIOUR = {r["name"]: r for r in RECORDS if r["stage"] == "checker"}


def judge(name: str) -> Audit | Verdict:
  return prepare_audit(PROBLEM, ATTACKS[name]["text"], RULES)


def test_attacks_are_complete():
  assert corpus.pack(RECORDS) == corpus.ATTACKS.read_text(encoding="utf-8")
  assert len({record["name"] for record in RECORDS}) == len(RECORDS)
  assert len(ATTACKS) + len(BEHAVIOUR) == len(RECORDS)
  for record in RECORDS:
    assert record["idea"] and record["status"], record["name"]
    is_refused = record["stage"] == "acceptance"
    assert bool(record["reason"]) == is_refused, record["name"]
  assert len(ATTACKS) >= 260
  assert len({record["text"] for record in ATTACKS.values()}) == len(ATTACKS)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_attack_is_refused_for_what_it_does(name):
  attack, verdict = ATTACKS[name], judge(name)
  assert isinstance(verdict, Verdict)
  assert verdict.status in REFUSALS
  assert verdict.status == attack["status"]
  assert attack["reason"] in verdict.detail


INNOCENT_LINES = {*HEADER.split("\n"), STATEMENT, PROOF}
# Ideas whose attacks are in separate lines, beside a correct proof.
BY_LINES = (
  "A goal is left open",
  "An axiom is added",
  "Code runs while",
  "More is",
  "An option",
  "The syntax",
  "An attribute",
  "A name of",
  "Other commands",
  "Names of the audit",
  "Characters that",
  "A symbol that",
)
# Exceptions: these extend to the next line, which the refusal points to.
REACHING_OVER = (
  "attribute_open",
  "implemented_by_split",
  "option_missing_value",
  "option_on_two_lines",
)


def own_lines(name: str) -> bool:
  text = ATTACKS[name]["text"]
  is_by_lines = ATTACKS[name]["idea"].startswith(BY_LINES)
  is_whole = text.startswith(HEADER) and f"\n{STATEMENT}\n" in text
  return is_by_lines and is_whole and name not in REACHING_OVER


@pytest.mark.parametrize("name", [*filter(own_lines, sorted(ATTACKS))])
def test_an_attack_without_its_lines_is_a_proof(name):
  """Refused lines are removed one by one; none belongs to the correct proof."""
  lines = ATTACKS[name]["text"].split("\n")
  while isinstance(
    verdict := prepare_audit(PROBLEM, "\n".join(lines), RULES), Verdict
  ):
    refused = lines.pop(verdict.messages[0].line - 1)
    assert refused not in INNOCENT_LINES, verdict
  assert STATEMENT in lines


def test_most_attacks_have_lines_of_their_own():
  assert len([*filter(own_lines, ATTACKS)]) > 400


def make_pool(command: pathlib.Path | str, **changes) -> VerificationPool:
  options = {
    **get_config().checker,
    "backend": "repl",
    "command": f"{sys.executable} -I -S {command}",
    "num_workers": 2,
    "num_standby": 0,
    "load_timeout_s": 30.0,
    "exec_timeout_s": 3.0,
    "isolation": "rlimit",
  }
  return VerificationPool(CheckerSettings(**{**options, **changes}))


def check(pool: VerificationPool, final: str) -> Verdict:
  return pool.submit(PROBLEM, Extraction(final=final)).result(timeout=120)


@pytest.fixture(scope="module")
def agreeable():
  """A pool whose REPL finds no error in anything."""
  with make_pool(HERE / "fake_repl.py") as pool:
    yield pool


def test_no_attack_is_proved_by_a_checker_that_agrees(agreeable):
  assert check(agreeable, INNOCENT).proved
  futures = {
    name: agreeable.submit(PROBLEM, Extraction(final=attack["text"]))
    for name, attack in ATTACKS.items()
  }
  for name, future in futures.items():
    verdict = future.result(timeout=120)
    assert verdict.status == ATTACKS[name]["status"], name
  assert check(agreeable, INNOCENT + "-- again").proved


@pytest.fixture(scope="module")
def behaviour_verdicts():
  """Verdicts by name, checked side by side since some end by a timeout."""
  with make_pool(HERE / "fake_repl.py", num_workers=4) as pool:
    futures = {
      name: pool.submit(PROBLEM, Extraction(final=behaviour["text"]))
      for name, behaviour in BEHAVIOUR.items()
    }
    return {name: f.result(timeout=120) for name, f in futures.items()}


@pytest.mark.parametrize("name", sorted(BEHAVIOUR))
def test_no_misbehaviour_is_proved(behaviour_verdicts, name):
  behaviour = BEHAVIOUR[name]
  assert isinstance(prepare_audit(PROBLEM, behaviour["text"], RULES), Audit)
  assert behaviour_verdicts[name].status == behaviour["status"]


def test_a_flood_of_messages_decides_nothing(agreeable):
  """Output on stderr neither proves anything nor blocks the checker."""
  assert check(agreeable, f"{INNOCENT}-- FAULT:flood").proved


FORGERIES = {
  "ahead": {Status.INFRA_ERROR, Status.PROTOCOL_VIOLATION},
  "twice": {Status.INFRA_ERROR, Status.PROTOCOL_VIOLATION},
  "guessed": {Status.PROTOCOL_VIOLATION},
  "by_nonce": {Status.PROTOCOL_VIOLATION},
  "silent": {Status.PROTOCOL_VIOLATION},
  "two_reports": {Status.PROTOCOL_VIOLATION},
  "longer_report": {Status.PROTOCOL_VIOLATION},
  "unusual_axiom": {Status.DISALLOWED_AXIOM},
}


@pytest.mark.parametrize("mode", sorted(FORGERIES))
def test_no_forged_frame_proves(mode):
  command = f"{HERE / 'forging_repl.py'} {mode}"
  with make_pool(command, num_workers=1) as pool:
    assert check(pool, INNOCENT).status in FORGERIES[mode]
    for name in ("sorry", "eval_prints_frame", "in_comment"):
      assert judge(name).status == check(pool, ATTACKS[name]["text"]).status


BLOCK = f"```lean4\n{INNOCENT}```"
THOUGHT = "<think>\n```tactics\nnlinarith\n```\n</think>\n"


@pytest.mark.parametrize(
  "response",
  [
    f"{THOUGHT}{BLOCK}\n{BLOCK}",
    f"{THOUGHT}{BLOCK}\n```lean4\nsorry\n```",
    f"{THOUGHT}{BLOCK.replace('nlinarith', 'sorry')}\n{BLOCK}",
    f"{THOUGHT}{BLOCK[:-3]}```` \n",
    f"{THOUGHT}{BLOCK}\nQ.E.D.",
    f"{THOUGHT}So:\n{BLOCK}",
    f"{THOUGHT.replace('</think>', '')}{BLOCK}",
    f"{THOUGHT}{BLOCK}{THOUGHT}",
    f"<think>\n{BLOCK}\n</think>",
    f"{THOUGHT}{BLOCK.replace('lean4', 'lean')}",
    BLOCK,
  ],
)
def test_no_other_form_of_a_response_is_proved(agreeable, response):
  parts = extract(response)
  verdict = agreeable.submit(PROBLEM, parts).result(timeout=120)
  assert verdict.status is Status.MALFORMED


def test_a_response_in_form_is_proved(agreeable):
  """The control: the responses above fail for their form only."""
  parts = extract(f"{THOUGHT}{BLOCK}")
  assert agreeable.submit(PROBLEM, parts).result(timeout=120).proved


HUGE = 48_000  # five times that is still read
BOMBS = {
  "word": "a" * 5 * HUGE,
  "name_with_dots": "a" + ".b" * HUGE,
  "number": "1" * HUGE,
  "option": f"set_option maxHeartbeats {'9' * HUGE} in",
  "string": f'def a := "{"b" * 5 * HUGE}"',
  "string_of_escapes": f'def a := "{chr(92) * 2 * HUGE}"',
  "unclosed_strings": 'def a := "' * 99 + "\\",
  "raw_strings": 'r#"a ' * HUGE,
  "raw_strings_deep": 'r##"a "# ' * 25_000,
  "quotes": "' " * HUGE,
  "chars": "'a' " * HUGE,
  "backquotes": "`" * HUGE,
  "open_brackets": "(" * HUGE,
  "brackets": f"def a := {'(' * HUGE}1{')' * HUGE}",
  "closed_brackets": ")" * HUGE,
  "comments": "/- " * 40_000 + "-/ " * 40_000,
  "unclosed_comments": "/- " * HUGE,
  "slashes": "/" * HUGE,
  "dashes": "- " * HUGE,
  "line_comments": "-- /-\n" * 40_000,
  "blank_lines": "\n" * 5 * HUGE,
  "spaces": " " * 5 * HUGE,
  "quoted_names": "«a»" * HUGE,
  "unclosed_names": "«" * HUGE,
  "commands": "lemma a : True := trivial\n" * 9_000,
  "statements": f"{STATEMENT}\n{PROOF}\n" * 2_500,
  "attributes": "@[simp] lemma a : True := trivial\n" * 7_000,
  "attribute_list": f"@[{'simp, ' * 40_000}simp] lemma a : True := trivial",
  "unclosed_attributes": "@[simp, " * 30_000,
  "options": "set_option maxRecDepth 1000 in\n" * 8_000,
  "opens": "open Nat in\n" * 20_000,
  "namespaces": "namespace A\n" * 13_000 + "end A\n" * 13_000,
  "ends": "end\n" * HUGE,
  "line": "lemma a : " + "1 + " * HUGE + "1 = 1 := by simp",
  "signs": "∀" * 5 * HUGE,
  "combining": "a" + "\u0301" * 5 * HUGE,
  "unassigned": "\u0378" * HUGE,
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_size_alone_breaks_nothing(name):
  """Any text gets a verdict or an audit within seconds."""
  began_s = time.process_time()
  found = prepare_audit(PROBLEM, f"{HEADER}{BOMBS[name]}\n{STATEMENT}\n", RULES)
  assert time.process_time() - began_s < 20
  if isinstance(found, Verdict):
    assert found.status in REFUSALS
    assert len(found.detail) < 1000


def records(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def own_problem(final: str) -> Problem:
  """Makes the problem of a genuine proof from its text."""
  start = re.search(r"^theorem ", final, re.MULTILINE).start()
  header = re.split(r"^(?:theorem |/-|lemma |def )", final, flags=re.M)[0]
  end = re.compile(r":=\s*by\b").search(final, start).end()
  statement = final[start:end]
  return Problem(statement.split()[1], header, statement)


def solved(data_dir) -> list[tuple[Problem, str]]:
  """Returns the 197 proofs, with the data set's problem if they repeat it."""
  folder = data_dir / "minif2f"
  problems = {r["name"]: r for r in records(folder / "minif2f.jsonl")}
  pairs = []
  for record in records(folder / "kimina-minif2f-test-solved.jsonl"):
    final, given = record["correct_proof"], problems[record["name"]]
    problem = Problem(
      record["name"], given["header"], given["formal_statement"]
    )
    bare = "".join(given["formal_statement"].split())
    if bare not in "".join(final.split()):
      problem = own_problem(final)
    pairs.append((problem, final))
  return pairs


def test_genuine_proofs_pass(data_dir):
  pairs = solved(data_dir)
  assert len(pairs) == 197
  refused = [
    found
    for problem, final in pairs
    if isinstance(found := prepare_audit(problem, final, RULES), Verdict)
  ]
  assert len(refused) == 11
  for verdict in refused:
    assert verdict.status is Status.FORBIDDEN_SYNTAX
    assert "native_decide" in verdict.detail


def test_genuine_proofs_pass_with_native_decide(data_dir):
  rules = type(RULES)(max_heartbeats=1_000_000, native_decide=True)
  for problem, final in solved(data_dir):
    assert isinstance(prepare_audit(problem, final, rules), Audit), problem.name


def test_proofs_of_the_server_set_pass(data_dir):
  paths = sorted((data_dir / "kimina-server").glob("*.lean"))
  assert len(paths) == 68
  for path in paths:
    final = path.read_text()
    found = prepare_audit(own_problem(final), final, RULES)
    assert isinstance(found, Audit), (path.name, found)
