"""The syntax rules: allowed and refused proofs."""

import json
import re

import pytest

from kimina_jax.verification.acceptance import syntax_rules
from kimina_jax.verification.acceptance.lexer import (
  Refusal,
  normalise,
  scan,
  tokenize,
)
from kimina_jax.verification.acceptance.syntax_rules import (
  CommandStart,
  SyntaxRules,
)

RULES = SyntaxRules(max_heartbeats=400_000, native_decide=False)
TRUSTING = SyntaxRules(max_heartbeats=400_000, native_decide=True)


def check(text: str, rules: SyntaxRules = RULES) -> Refusal | None:
  found = syntax_rules.check_syntax(scan(normalise(text)), rules)
  return found if isinstance(found, Refusal) else None


ALLOWED = """
open Finset in
/-- A helper. -/
@[simp, reducible] noncomputable def f (x : ℝ) : ℝ := x / 2

namespace A
structure S (α : Type) extends T α where
  x : ℕ
  toFun : ℕ
inductive I | a | b
def s : S ℕ := { toFun := 1, x := f.toNat 2 }
lemma h (s : S ℕ) : s.x = s.local ∧ s.prefix = s.class := by
  set_option maxRecDepth 2000 in
  simp? [f, -h.stop] -- sorry, native_decide, #eval
  simp (config := { decide := true, maxSteps := 9, occs := .pos [1, 2] })
  linarith (config := {})
  norm_num (config := config) [eval, config]
  simp +arith (maxSteps := 5) (disch := linarith) [foo (x := y)]
  have hlocal := foo (config x) (n := 3 + 4)
  simp [hlocal, h_class] at ⟨hlocal⟩ ⊢
  exact (open Nat in foo_local hlocal)
end A
section
abbrev R := ℝ
example : f '' ∅ = ∅ := by
· exact?
| z => eval 2 (p % 3)
end

set_option maxHeartbeats 400000 in
theorem t : "sorry" = "#eval" := by
  /- axiom /- sorry -/ -/
  decide +kernel
termination_by 1
decreasing_by decide
"""


def test_allowed():
  # `config := config` would be a setting without a literal value.
  text = ALLOWED.replace("(config := config)", "")
  assert check(text) is None
  assert str(check(ALLOWED)).startswith("setting that is not literal")


@pytest.mark.parametrize(
  ("text", "refusal"),
  [
    ("theorem t : p := by\n  sorry", "sorry: 'sorry' at 2:2"),
    ("def f := 1\n#eval f", "command not allowed: '#' at 2:0"),
    ("norm_num", "command not allowed: 'norm_num' at 1:0"),
    ("\n\nnorm_num", "command not allowed: 'norm_num' at 3:0"),
    ("def f := g\nwish f", "command not allowed: 'wish' at 2:0"),
    ("def a.b := c.sorryAx.d", "constant not allowed: 'c.sorryAx.d' at 1:11"),
    ("def f := λsorry", "sorry: 'sorry' at 1:10"),
    ("def f := αsorry", "sorry: 'αsorry' at 1:9"),
    ("@[simp, ext] def f := 1", "attribute not allowed: 'ext' at 1:8"),
    ("@[simp 1000] def f := 1", "attribute not allowed: '1000' at 1:7"),
    ("set_option pp.all true", "option not allowed: 'pp.all' at 1:11"),
    ("set_option maxRecDepth 100001 in", "option maxRecDepth outside"),
    ("set_option maxHeartbeats", "option without a number"),
    ('def f := ("{x}")', "string that may hold code: '\"{x}\"' at 1:10"),
    ("def f := (1", "bracket that does not close: '(' at 1:9"),
    ("def f := (1]", "bracket that closes nothing: ']' at 1:11"),
    ("def f := 1)", "bracket that closes nothing: ')' at 1:10"),
    ("def f := (end)", "command inside brackets: 'end' at 1:10"),
    ("def __ok_1 := 1", "name reserved for the audit"),
    ("end", "end of nothing"),
    ("section A", "section that does not end"),
    ("namespace A.B\nend B", "section that does not end: 'namespace' at 1:0"),
    ("namespace A\nend", "end of nothing: 'end' at 2:0"),
    ("section\nend A", "end of nothing: 'end' at 2:0"),
    ("namespace A\nsection\nend A\nend", "end of nothing: 'end' at 3:0"),
    ("def f := x.1.end", "keyword as a name: 'end' at 1:13"),
    ("def f := .end", "keyword as a name: 'end' at 1:10"),
    ("inductive A |\nend", "keyword as a name: 'end' at 2:0"),
    ("inductive A | @[simp]\nend", "attributes of no declaration"),
    ("simp (a := f x)", "command not allowed"),
    ("def f := by simp (a := f x)", "setting that is not literal: 'f' at 1:23"),
    ("def f := by linarith (oracle := .x)", "setting that is a program"),
    ("def f := `(x)", "quoted syntax not allowed: '`' at 1:9"),
    ("def f := eval% 1", "command or tactic not allowed: 'eval' at 1:9"),
    ("open Lean in def f := 1", "constant not allowed: 'Lean' at 1:5"),
    ("open scoped A", "command or tactic not allowed: 'scoped' at 1:5"),
    # A word that follows a symbol with letters is read by itself.
    ("def f := A →gsorry", "command or tactic not allowed: 'gsorry' at 1:12"),
    ("def f := A →gadmit", "command or tactic not allowed: 'gadmit' at 1:12"),
    ("def f := ⟪x⟫_ℝaxiom a : b", "command or tactic not allowed"),
    ("def f := a ≡ b [ZMODadmit]", "command or tactic not allowed"),
    ("def f := A →gby_elab", "command or tactic not allowed"),
    # A refusal quotes only the beginning of a long text.
    (f"def {'__ok_' * 99} := 1", "name reserved for the audit: '__ok"),
  ],
)
def test_refusal_says_rule_text_and_position(text, refusal):
  assert str(check(text)).startswith(refusal)
  assert len(str(check(text))) < 200


def test_the_first_refusal_counts():
  assert check("def f := by\n  admit\n  sorry\naxiom a : b").text == "admit"
  assert check("def f := (\n  admit").text == "("
  assert check("def f := )\n  admit").text == ")"


def test_place_of_a_refusal_of_many_lines():
  refusal = check('def f := ["a{\nb"]')
  assert refusal == Refusal("string that may hold code", '"a{\nb"', 1, 10, 2, 2)


@pytest.mark.parametrize(
  "proof",
  ["native_decide", "decide +native", "decide (config := { native := true })"],
)
def test_trust_in_the_compiler_is_a_rule(proof):
  text = f"theorem t : p := by\n  {proof}"
  assert "native" in str(check(text))
  assert check(text, TRUSTING) is None
  # It admits nothing else.
  assert check(f"{text}\n  exact Lean.ofReduceBool _ _ rfl", TRUSTING)
  assert check(f"@[implemented_by f] {text}", TRUSTING)
  assert check(f"@[csimp] {text}", TRUSTING)


def test_deep_brackets_are_refused():
  assert check(f"def f := {'(' * 256}1{')' * 256}") is None
  assert "256 deep" in str(check(f"def f := {'(' * 257}1{')' * 257}"))


def test_commands_and_their_depth():
  text = (
    "namespace A.«B»\nopen B in\ndef f := 1\nsection\nend\nend A.B\nlemma x"
  )
  tokens = scan(text).tokens
  found = syntax_rules.check_syntax(scan(text), RULES)
  assert [(c.kind, c.depth) for c in found] == [
    ("namespace", 0),
    ("open", 2),
    ("def", 2),
    ("section", 2),
    ("end", 2),
    ("end", 0),
    ("lemma", 0),
  ]
  assert found[2] == CommandStart("def", tokens.index("def"), 2)


def body(proof: str) -> str:
  """The text after the imports, the option and the opened namespaces."""
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
  assert [check(body(proof), TRUSTING) for proof in proofs] == [None] * 197


def test_proofs_of_the_server_set(data_dir):
  paths = sorted((data_dir / "kimina-server").glob("*.lean"))
  assert len(paths) == 68
  assert [check(body(path.read_text())) for path in paths] == [None] * 68


def test_statements_of_minif2f(data_dir):
  path = data_dir / "minif2f" / "minif2f.jsonl"
  for line in path.read_text().splitlines():
    assert check(json.loads(line)["formal_statement"]) is None


def test_a_refusal_is_of_a_token(data_dir):
  """Cut anywhere, a proof is refused at a token or accepted."""
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  proof = body(json.loads(path.read_text().splitlines()[0])["correct_proof"])
  tokens = tokenize(proof)
  places = {(t.line, t.column): t.text for t in tokens}
  for token in tokens[::7]:
    refusal = check(proof[: token.end])
    if refusal is not None:
      assert places[refusal.line, refusal.column] == refusal.text
