"""What a proof may say."""

import json
import re

import pytest

from kimina_jax.verification import policy
from kimina_jax.verification.lexer import normalise, tokenize


def check(text: str) -> policy.Refusal | None:
  return policy.check(tokenize(normalise(text)))


ALLOWED = """
open Finset in
/-- A helper. -/
@[simp, reducible] noncomputable def f (x : ℝ) : ℝ := x / 2

namespace A
structure S (α : Type) extends T α where
  x : ℕ
inductive I | a | b
lemma h (s : S ℕ) : s.x = s.local ∧ s.prefix = s.class := by
  set_option maxRecDepth 2000 in
  simp? [f, -h.stop] -- sorry, native_decide, #eval
end A
section
abbrev R := ℝ
example : f '' ∅ = ∅ := by
· exact?
end

set_option maxHeartbeats 400000 in
theorem t : "sorry" = "#eval" := by
  /- axiom /- sorry -/ -/
  decide
termination_by 1
decreasing_by decide
"""


def test_allowed():
  assert check(ALLOWED) is None


@pytest.mark.parametrize(
  ("text", "refusal"),
  [
    ("theorem t : p := by\n  sorry", "sorry: 'sorry' at 2:2"),
    ("def f := 1\n#eval f", "command not allowed: '#' at 2:0"),
    ("norm_num", "command not allowed: 'norm_num' at 1:0"),
    ("def f := g\nwish f", "command not allowed: 'wish' at 2:0"),
    ("def a.b := c.sorryAx.d", "constant not allowed: 'c.sorryAx.d' at 1:11"),
    ("def f := λsorry", "sorry: 'sorry' at 1:10"),
    ("def f := αsorry", "sorry: 'αsorry' at 1:9"),
    ("@[simp, ext] def f := 1", "attribute not allowed: 'ext' at 1:8"),
    ("@[simp 1000] def f := 1", "attribute not allowed: '1000' at 1:7"),
    ("set_option pp.all true", "option not allowed: 'pp.all' at 1:11"),
    ("set_option maxRecDepth 100001 in", "option maxRecDepth outside"),
    ("set_option maxHeartbeats", "option without a number"),
    ('def f := s!"{x}"', "string that may hold code"),
    ("def f := (1", "bracket that does not close: '(' at 1:9"),
    ("def f := (1]", "bracket that closes nothing: ']' at 1:11"),
    ("def f := 1)", "bracket that closes nothing: ')' at 1:10"),
    ("def __ok_1 := 1", "name reserved for the audit"),
    ("end", "end of nothing"),
    ("section A", "section that does not end"),
  ],
)
def test_refusal_says_rule_text_and_position(text, refusal):
  assert str(check(text)).startswith(refusal)


def test_the_first_refusal_counts():
  assert check("def f := by\n  admit\n  sorry\naxiom a : b").text == "admit"


def body(proof: str) -> str:
  """What follows the imports, the option and the opening of names."""
  header = r"(import \w+\n|set_option maxHeartbeats 0\n|open [\w ]+\n|\n)*"
  return proof[re.match(header, proof).end() :]


def test_genuine_proofs(data_dir):
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  proofs = [
    json.loads(x)["correct_proof"] for x in path.read_text().splitlines()
  ]
  refusals = [check(body(proof)) for proof in proofs]
  refused = [refusal for refusal in refusals if refusal is not None]
  assert len(proofs) == 197
  assert [refusal.text for refusal in refused] == ["native_decide"] * 11


def test_proofs_of_the_server_set(data_dir):
  paths = sorted((data_dir / "kimina-server").glob("*.lean"))
  assert len(paths) == 68
  assert [check(body(path.read_text())) for path in paths] == [None] * 68


def test_statements_of_minif2f(data_dir):
  path = data_dir / "minif2f" / "minif2f.jsonl"
  for line in path.read_text().splitlines():
    assert check(json.loads(line)["formal_statement"]) is None
