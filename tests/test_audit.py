"""Anchoring a proof to its statement, and judging the replies."""

import dataclasses
import json
import pathlib

import pytest

from kimina_jax.types import Message, Problem, Status, Verdict
from kimina_jax.verification.audit import Audit, judge, prepare
from kimina_jax.verification.protocol import Reply, Sorry

ATTACKS = pathlib.Path(__file__).parent / "attacks"
HEADER = """import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

"""
STATEMENT = (
  "theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by"
)
PROBLEM = Problem("target", HEADER, STATEMENT)


def prepare_body(body: str, statement: str = STATEMENT) -> Audit | Verdict:
  return prepare(
    dataclasses.replace(PROBLEM, statement=statement), HEADER + body
  )


@pytest.mark.parametrize(
  "path", sorted(ATTACKS.glob("*.lean")), ids=lambda path: path.stem
)
def test_no_attack_reaches_lean(path):
  """So none is proved, whatever a checker may answer."""
  verdict = prepare(PROBLEM, path.read_bytes().decode())
  assert isinstance(verdict, Verdict)
  assert verdict.detail
  assert verdict.status in (
    Status.HAS_SORRY,
    Status.FORBIDDEN_SYNTAX,
    Status.STATEMENT_MISMATCH,
    Status.MISSING_THEOREM,
  )


def test_attacks_fail_for_what_they_do():
  """Without the attack, the same text is sent to Lean."""
  assert isinstance(prepare_body(f"{STATEMENT}\n  nlinarith\n"), Audit)
  assert len(list(ATTACKS.glob("*.lean"))) > 100


def test_commands():
  audit = prepare_body(f"lemma a : 1 = 1 := rfl\n\n{STATEMENT}\n  nlinarith")
  statement, proof, check = audit.commands("12", "34")
  assert statement == (
    "def __stmt_12 : Prop := ∀ (n : ℕ) (h₀ : 1 < n)\n"
    ", (n : ℝ) + 1 ≤ Real.sqrt n\n"
  )
  assert check == (
    "theorem __ok_34 : __stmt_12 := @target\n#print axioms __ok_34"
  )
  # Lean sees the body alone, where the final block has it.
  assert (
    proof.split() == f"lemma a : 1 = 1 := rfl {STATEMENT} nlinarith".split()
  )
  final = f"{HEADER}lemma a : 1 = 1 := rfl\n\n{STATEMENT}\n  nlinarith"
  assert proof.index("nlinarith") == final.index("nlinarith")
  assert proof.count("\n") == final.count("\n")


@pytest.mark.parametrize(
  ("statement", "proposition"),
  [
    ("theorem t : 1 = 1 := by", "1 = 1\n"),
    ("lemma t.u : ∀ x : ℕ, x = x := by\n", "∀ x : ℕ, x = x\n"),
    (
      "theorem t (x : ℕ) {y z} [Inst x] ⦃w : ℕ⦄ -- why\n  (h : x = (2 : ℕ)) :\n"
      "  x = y -- so\n  := by",
      "∀ (x : ℕ) {y z} [Inst x] ⦃w : ℕ⦄ -- why\n  (h : x = (2 : ℕ))\n"
      ", x = y -- so\n",
    ),
    (
      "theorem t (S : Finset ℕ) (h : ∀ n, n ∈ S ↔ n < 3) : S.card = 3 := by",
      "∀ (S : Finset ℕ) (h : ∀ n, n ∈ S ↔ n < 3)\n, S.card = 3\n",
    ),
  ],
)
def test_proposition(statement, proposition):
  assert prepare_body(f"{statement} x", statement).proposition == proposition


@pytest.mark.parametrize(
  ("statement", "words"),
  [
    ("theorem t : 1 = 1 := sorry", "does not end in `:= by`"),
    ("example : 1 = 1 := by", "does not start with `theorem`"),
    ("theorem t (x : ℕ) := by", "no colon"),
    ("theorem t.{u} : p := by", "unexpected '.'"),
    ("theorem t : := by", "states nothing"),
    ("theorem t : 1 = 1 /- := by", "comment that does not end"),
    ("theorem", "does not end in `:= by`"),
    (":= by", "does not start with `theorem`"),
  ],
)
def test_bad_statement_is_not_the_policys_fault(statement, words):
  verdict = prepare_body(f"{statement} x", statement)
  assert verdict.status is Status.INFRA_ERROR
  assert words in verdict.detail


def test_statement_may_be_spaced_otherwise():
  body = STATEMENT.replace(" (h₀", " -- x\n  (h₀").replace(" + ", "+")
  assert isinstance(prepare_body(f"\n\n{body}\n  nlinarith"), Audit)


def test_helpers_may_reuse_bound_names():
  assert isinstance(
    prepare_body(f"lemma h₀ : 1 = 1 := rfl\n{STATEMENT} nlinarith"), Audit
  )


def test_statements_of_minif2f(data_dir):
  """All can be anchored; 190 of 197 proofs repeat theirs."""
  folder = data_dir / "minif2f"
  problems = {}
  for record in records(folder / "minif2f.jsonl"):
    problems[record["name"]] = Problem(
      record["name"], record["header"], record["formal_statement"]
    )
  for problem in problems.values():
    own = prepare(problem, problem.header + problem.statement)
    assert isinstance(own, Audit), (problem.name, own)
  statuses = []
  for record in records(folder / "kimina-minif2f-test-solved.jsonl"):
    proof = record["correct_proof"].replace("native_decide", "decide")
    found = prepare(problems[record["name"]], proof)
    statuses.append(found.status if isinstance(found, Verdict) else None)
  assert len(statuses) == 197
  assert statuses.count(None) == 190
  assert statuses.count(Status.STATEMENT_MISMATCH) == 7


def records(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def info(text: str) -> Message:
  return Message("info", 1, 0, 0, 0, text)


def reply(*messages: Message, sorries=()) -> Reply:
  return Reply(0, messages, sorries)


ERROR = Message("error", 1, 0, 0, 0, "unsolved goals")
FREE = info("'__ok_34' does not depend on any axioms")
FINE = reply()


def axioms(names: str) -> Reply:
  return reply(info(f"'__ok_34' depends on axioms: [{names}]"))


@pytest.mark.parametrize(
  ("replies", "status"),
  [
    ((FINE, FINE, reply(FREE)), Status.PROVED),
    ((FINE, FINE, axioms("propext")), Status.PROVED),
    (
      (FINE, FINE, axioms("propext,\n Classical.choice,\n Quot.sound")),
      Status.PROVED,
    ),
    ((FINE, FINE, axioms("propext, sorryAx")), Status.HAS_SORRY),
    ((FINE, FINE, axioms("Lean.ofReduceBool")), Status.DISALLOWED_AXIOM),
    ((FINE, FINE, axioms("propext easy")), Status.DISALLOWED_AXIOM),
    ((FINE, FINE, FINE), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, reply(FREE, FREE)), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, reply(info(FREE.text + " x"))), Status.PROTOCOL_VIOLATION),
    (
      (FINE, FINE, reply(info(FREE.text.replace("34", "12")))),
      Status.PROTOCOL_VIOLATION,
    ),
    ((FINE, FINE, reply(FREE, ERROR)), Status.STATEMENT_MISMATCH),
    (
      (FINE, FINE, reply(dataclasses.replace(ERROR, text="unknown constant"))),
      Status.MISSING_THEOREM,
    ),
    ((FINE, reply(ERROR)), Status.LEAN_ERROR),
    ((FINE, reply(ERROR, sorries=(Sorry(1, 0, "p"),))), Status.LEAN_ERROR),
    ((FINE, reply(sorries=(Sorry(1, 0, "p"),))), Status.HAS_SORRY),
    ((FINE, reply(info("declaration uses 'sorry'"))), Status.HAS_SORRY),
    ((FINE, reply(info("declaration uses `sorry`"))), Status.HAS_SORRY),
    (
      (FINE, FINE, reply(FREE, info("declaration uses 'sorry'"))),
      Status.HAS_SORRY,
    ),
    ((reply(ERROR),), Status.INFRA_ERROR),
    ((FINE,), Status.INFRA_ERROR),
    ((FINE, FINE), Status.INFRA_ERROR),
  ],
)
def test_judge(replies, status):
  assert judge("34", replies).status is status


def test_verdict_keeps_the_errors_of_a_flood():
  warnings = [Message("warning", 1, 0, 0, 0, "w" * 9000)] * 100
  verdict = judge("34", (FINE, reply(*warnings, ERROR)))
  assert verdict.messages[0] == ERROR
  assert len(verdict.messages) == 32
  assert max(len(m.text) for m in verdict.messages) == 4000
