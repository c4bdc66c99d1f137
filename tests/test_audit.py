"""The audit: commands for Lean from a final block, verdicts from replies."""

import dataclasses
import json
import pathlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.types import Message, Problem, Status, Verdict
from kimina_jax.verification.acceptance.audit import (
  Audit,
  is_decided,
  judge_replies,
  prepare_audit,
)
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.replies import Reply, Sorry

RULES = SyntaxRules(max_heartbeats=400_000, native_decide=False)
TRUSTING = SyntaxRules(max_heartbeats=400_000, native_decide=True)
HEADER = """import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

"""
STATEMENT = (
  "theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by"
)
PROBLEM = Problem("target", HEADER, STATEMENT)


def prepare_body(body: str, rules: SyntaxRules = RULES) -> Audit | Verdict:
  return prepare_audit(PROBLEM, HEADER + body, rules)


def test_commands():
  audit = prepare_body(f"lemma a : 1 = 1 := rfl\n\n{STATEMENT}\n  nlinarith")
  assert audit.imports == "import Mathlib\nimport Aesop"
  assert audit.preamble == (
    "set_option maxHeartbeats 400000\n\nopen BigOperators Real Nat Topology Rat"
  )
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
  "header",
  [
    "",
    "import A\n",
    "import A\n\n",
    "import A",
    "-- x\nimport A -- y\n\n/- z -/\n",
    "import A\nopen B\n/-- doc -/\n",
  ],
)
@pytest.mark.parametrize("respaced", [False, True])
def test_positions_are_those_of_the_final_block(header, respaced):
  """Whether the header is repeated literally or with other white space."""
  final = f"{header}\n{STATEMENT}\n  nlinarith"
  if respaced:
    final = "\n/- \n -/\n" + final.replace("import A", " import -- .\n    A")
  problem = dataclasses.replace(PROBLEM, header=header)
  audit = prepare_audit(problem, final, RULES)
  assert isinstance(audit, Audit)
  lines = zip(final.split("\n"), audit.proof.split("\n"), strict=True)
  seen = [(whole, line) for whole, line in lines if "linarith" in line]
  assert seen and all(whole == line for whole, line in seen)
  assert "import" not in audit.proof
  if not respaced:
    assert audit.proof.split() == [*STATEMENT.split(), "nlinarith"] or (
      header.endswith("-/\n") and not header.endswith("doc -/\n")
    )


@pytest.mark.parametrize(
  ("final", "status", "message"),
  [
    (
      f"{HEADER}{STATEMENT}\n  x\n  admit",
      Status.FORBIDDEN_SYNTAX,
      Message("error", 10, 2, 10, 7, "command or tactic not allowed: 'admit'"),
    ),
    (
      f"{HEADER}{STATEMENT}\n  sorry",
      Status.HAS_SORRY,
      Message("error", 9, 2, 9, 7, "sorry: 'sorry'"),
    ),
    (
      HEADER.replace("Aesop", "Lean") + STATEMENT,
      Status.STATEMENT_MISMATCH,
      Message(
        *("error", 2, 7, 2, 11),
        "the final block does not start with the header: not 'Aesop': 'Lean'",
      ),
    ),
    (
      "import Mathlib\n",
      Status.STATEMENT_MISMATCH,
      Message(
        *("error", 2, 0, 2, 0),
        "the final block ends before the header does: ''",
      ),
    ),
    (
      HEADER,
      Status.MISSING_THEOREM,
      Message("error", 8, 0, 8, 0, "no proof after the header: ''"),
    ),
    (
      f"{HEADER}example : p := x",
      Status.MISSING_THEOREM,
      Message("error", 8, 0, 8, 7, "no theorem target: 'example'"),
    ),
    (
      f"{HEADER}{STATEMENT}\n  x \u200b",
      Status.FORBIDDEN_SYNTAX,
      Message("error", 9, 4, 9, 5, "forbidden character U+200B: '\\u200b'"),
    ),
    (
      f"{HEADER}{STATEMENT} /- x",
      Status.FORBIDDEN_SYNTAX,
      Message(
        *("error", 8, 70, 8, 72),
        "comment that does not end, or is over 4 deep: '/-'",
      ),
    ),
    (
      "x" * 300_000,
      Status.FORBIDDEN_SYNTAX,
      Message(
        *("error", 1, 262_144, 1, 262_144),
        "text longer than 262144 characters: ''",
      ),
    ),
  ],
)
def test_refusal_has_a_place(final, status, message):
  verdict = prepare_audit(PROBLEM, final, RULES)
  assert verdict.status is status
  assert verdict.messages == (message,)
  rule = message.text.rpartition(": ")[0]
  assert verdict.detail == (
    f"{message.text} at {message.line}:{message.column}"
  )
  assert rule in verdict.detail


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"statement": "theorem t : p := x"}, "bad statement: it does not end"),
    ({"statement": "theorem t.{u} : p := by"}, "bad statement: unexpected"),
    ({"header": "import A /- x"}, "bad header: comment that does not end"),
    ({"header": "import A\u202e"}, "bad header: forbidden character"),
  ],
)
def test_a_bad_problem_is_not_the_policys_fault(change, words):
  problem = dataclasses.replace(PROBLEM, **change)
  verdict = prepare_audit(problem, problem.header + problem.statement, RULES)
  assert verdict.status is Status.INFRA_ERROR
  assert verdict.detail.startswith(words)


def test_limit_in_the_header_becomes_the_ceiling_visibly():
  header = HEADER.replace("400000", "0")
  problem = dataclasses.replace(PROBLEM, header=header)
  final = f"{header}{STATEMENT}\n  nlinarith"
  audit = prepare_audit(problem, final, SyntaxRules(1234, native_decide=False))
  assert "maxHeartbeats 1234\n" in audit.preamble
  note = "set_option maxHeartbeats 0 in the header became 1234"
  assert audit.notes == (note,)
  assert judge_replies(audit, "34", (FINE, FINE, reply(FREE))).notes == (note,)
  assert judge_replies(audit, "34", (FINE, reply(ERROR))).notes == (note,)
  # The same in the proof itself is refused.
  changed = final.replace("theorem", "set_option maxHeartbeats 0 in\ntheorem")
  assert (
    "outside 1..1234"
    in prepare_audit(
      problem, changed, SyntaxRules(1234, native_decide=False)
    ).detail
  )


def test_native_decide_comes_with_its_axioms():
  proof = f"{STATEMENT}\n  native_decide"
  assert prepare_body(proof).status is Status.FORBIDDEN_SYNTAX
  audit = prepare_body(proof, TRUSTING)
  report = axioms("propext, Lean.ofReduceBool, Lean.trustCompiler")
  assert judge_replies(audit, "34", (FINE, FINE, report)).proved
  newer = axioms("propext, target._native.native_decide.ax_1_1")
  assert judge_replies(audit, "34", (FINE, FINE, newer)).proved
  other = axioms("Lean.ofReduceBool, Lean.ofReduceNat")
  verdict = judge_replies(audit, "34", (FINE, FINE, other))
  assert verdict.status is Status.DISALLOWED_AXIOM
  assert verdict.detail == "axioms Lean.ofReduceNat"


def test_genuine_proofs(data_dir):
  """All statements are parsed; 190 of 197 proofs repeat theirs."""
  folder = data_dir / "minif2f"
  problems = {}
  for record in records(folder / "minif2f.jsonl"):
    problems[record["name"]] = Problem(
      record["name"], record["header"], record["formal_statement"]
    )
  assert len(problems) == 488
  for problem in problems.values():
    own = prepare_audit(problem, problem.header + problem.statement, RULES)
    assert isinstance(own, Audit), (problem.name, own)
    assert own.notes
  for rules, refused in ((RULES, 11), (TRUSTING, 0)):
    found = [
      prepare_audit(problems[record["name"]], record["correct_proof"], rules)
      for record in records(folder / "kimina-minif2f-test-solved.jsonl")
    ]
    assert len(found) == 197
    verdicts = [v for v in found if isinstance(v, Verdict)]
    mismatches = [v for v in verdicts if v.status is Status.STATEMENT_MISMATCH]
    natives = [v for v in verdicts if "'native_decide'" in v.detail]
    assert (len(mismatches), len(natives)) == (7, refused)
    assert len(verdicts) == 7 + refused


def records(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


@settings(max_examples=200, deadline=None)
@given(
  st.lists(
    st.sampled_from(
      [HEADER, STATEMENT, "\n", "\n  ", " ", "import Mathlib\n", "by", "sorry"]
      + [
        "theorem target ",
        "end\n",
        "section\n",
        "(",
        ")",
        "@[simp]",
        "/-",
        "-/",
      ]
      + [
        "config := {",
        "}",
        "set_option maxHeartbeats ",
        "0",
        "5",
        "\u200b",
        '"',
      ]
    ),
    max_size=12,
  ).map("".join)
)
def test_every_text_ends_in_an_audit_or_a_placed_refusal(text):
  found = prepare_audit(PROBLEM, text, RULES)
  if isinstance(found, Audit):
    assert len(found.proof) == len(text)
    assert text.endswith(found.proof.lstrip())
    return
  (message,) = found.messages
  lines = text.split("\n")
  assert 0 <= message.column <= len(lines[message.line - 1])
  assert (message.line, message.column) <= (
    message.end_line,
    message.end_column,
  )


@pytest.mark.parametrize(
  "piece",
  [
    *(
      "/- ",
      "(",
      "theorem target\n",
      f"{STATEMENT} x\n",
      "config := { a := 1 ",
    ),
    *("@[simp, ", "→hlocal ", "a ", "set_option maxHeartbeats 1 in\n", "'"),
  ],
)
def test_hostile_texts_take_less_than_a_second_or_two(piece):
  count = (262_000 - len(HEADER) - len(STATEMENT)) // len(piece)
  began = time.process_time()
  prepare_body(f"{STATEMENT}\n  {piece * count}")
  assert time.process_time() - began < 2.0


def info(text: str) -> Message:
  return Message("info", 1, 0, 0, 0, text)


def reply(*messages: Message, sorries=()) -> Reply:
  return Reply(0, messages, sorries)


ERROR = Message("error", 1, 0, 0, 0, "unsolved goals")
WARNING = Message("warning", 1, 0, 0, 0, "unused variable")
FREE = info("'__ok_34' does not depend on any axioms")
FINE = reply()
AUDIT = prepare_body(f"{STATEMENT}\n  nlinarith")


def axioms(names: str) -> Reply:
  return reply(info(f"'__ok_34' depends on axioms: [{names}]"))


@pytest.mark.parametrize(
  ("replies", "status"),
  [
    ((FINE, FINE, reply(FREE)), Status.PROVED),
    ((reply(WARNING), reply(WARNING), reply(WARNING, FREE)), Status.PROVED),
    ((FINE, FINE, axioms("propext")), Status.PROVED),
    (
      (FINE, FINE, axioms("propext,\n Classical.choice,\n Quot.sound")),
      Status.PROVED,
    ),
    ((FINE, FINE, axioms("propext, sorryAx")), Status.HAS_SORRY),
    ((FINE, FINE, axioms("Lean.ofReduceBool")), Status.DISALLOWED_AXIOM),
    (
      (FINE, FINE, axioms("t._native.native_decide.ax_1")),
      Status.DISALLOWED_AXIOM,
    ),
    ((FINE, FINE, axioms("propext easy")), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, FINE), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, reply(FREE, FREE)), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, reply(FREE, info("x"))), Status.PROTOCOL_VIOLATION),
    (
      (FINE, FINE, reply(FREE, dataclasses.replace(FREE, severity="trace"))),
      Status.PROTOCOL_VIOLATION,
    ),
    (
      (FINE, FINE, reply(dataclasses.replace(FREE, severity="warning"))),
      Status.PROTOCOL_VIOLATION,
    ),
    ((FINE, FINE, reply(info(FREE.text + " x"))), Status.PROTOCOL_VIOLATION),
    (
      (FINE, FINE, reply(info(FREE.text.replace("34", "12")))),
      Status.PROTOCOL_VIOLATION,
    ),
    ((FINE, FINE, reply(FREE), FINE), Status.PROTOCOL_VIOLATION),
    ((FINE, FINE, reply(FREE, ERROR)), Status.STATEMENT_MISMATCH),
    (
      (FINE, FINE, reply(dataclasses.replace(ERROR, text="unknown constant"))),
      Status.MISSING_THEOREM,
    ),
    (
      (
        *(FINE, FINE),
        reply(dataclasses.replace(ERROR, text="Unknown identifier `target`")),
      ),
      Status.MISSING_THEOREM,
    ),
    ((FINE, reply(ERROR)), Status.LEAN_ERROR),
    ((FINE, reply(ERROR), reply(FREE)), Status.LEAN_ERROR),
    ((FINE, reply(ERROR, sorries=(Sorry(1, 0, "p"),))), Status.LEAN_ERROR),
    ((FINE, reply(sorries=(Sorry(1, 0, "p"),))), Status.HAS_SORRY),
    ((FINE, reply(info("declaration uses 'sorry'"))), Status.HAS_SORRY),
    ((FINE, reply(info("declaration uses `sorry`"))), Status.HAS_SORRY),
    (
      (FINE, FINE, reply(FREE, info("declaration uses 'sorry'"))),
      Status.HAS_SORRY,
    ),
    ((FINE, FINE, reply(FREE, sorries=(Sorry(1, 0, "p"),))), Status.HAS_SORRY),
    ((reply(ERROR),), Status.INFRA_ERROR),
    ((reply(sorries=(Sorry(1, 0, "p"),)), FINE, reply(FREE)),) * 1
    + (Status.INFRA_ERROR,),
    ((), Status.INFRA_ERROR),
    ((FINE,), Status.INFRA_ERROR),
    ((FINE, FINE), Status.INFRA_ERROR),
  ],
)
def test_judge(replies, status):
  assert judge_replies(AUDIT, "34", replies).status is status


@pytest.mark.parametrize(
  ("replies", "expected"),
  [
    *(((), False), ((FINE,), False), ((FINE, FINE), False)),
    *(((FINE, FINE, FINE), True), ((reply(ERROR),), True)),
    *(((FINE, reply(ERROR)), True), ((FINE, reply(WARNING)), False)),
    ((FINE, reply(sorries=(Sorry(1, 0, "p"),))), True),
  ],
)
def test_decided(replies, expected):
  """Further replies do not change a verdict that is decided."""
  assert is_decided(replies) is expected
  if expected and len(replies) < 3:
    status = judge_replies(AUDIT, "34", replies).status
    for more in (FINE, reply(FREE), reply(ERROR)):
      assert judge_replies(AUDIT, "34", (*replies, more)).status is status


def test_verdict_keeps_the_errors_of_a_flood():
  warnings = [Message("warning", 1, 0, 0, 0, "w" * 9000)] * 100
  verdict = judge_replies(AUDIT, "34", (FINE, reply(*warnings, ERROR)))
  assert verdict.messages[0] == ERROR
  assert len(verdict.messages) == 32
  assert max(len(m.text) for m in verdict.messages) == 4000
