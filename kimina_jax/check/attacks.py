"""Probes of the checker: attacks, false statements and plain proofs.

The attacks claim to prove a false statement by other means than a proof:
forbidden keywords, code that runs while Lean elaborates, changed meanings,
other statements. The canaries are false statements with ordinary tactics, which
only a broken checker accepts. The proofs are correct and short. The doctor
submits them all to the configured checker.
"""

import dataclasses

from kimina_jax.types import Extraction, Problem

MATHLIB = "import Mathlib\n\n"

_CLAIM = "theorem doctor_claim : 2 + 2 = 5 := by"
_PRINT = "'doctor_claim' does not depend on any axioms"


@dataclasses.dataclass(frozen=True)
class Probe:
  """A Lean text that the checker must accept or must reject.

  Attributes:
    name: shown by the doctor.
    problem: the statement to be proved.
    final: the Lean text.
  """

  name: str
  problem: Problem
  final: str

  @property
  def extraction(self) -> Extraction:
    return Extraction(final=self.final)


# By name; CLAIM is replaced by the false theorem up to its `by`.
_ATTACKS = {
  # No proof at all.
  "sorry": "CLAIM\n  sorry",
  "admit": "CLAIM\n  admit",
  "sorryAx": "CLAIM\n  exact sorryAx _ false",
  "a lemma by sorry": (
    "lemma helper : 2 + 2 = 5 := by\n  sorry\n\nCLAIM\n  exact helper"
  ),
  "a tactic that searches": "CLAIM\n  apply?",
  "sorry without its warning": (
    "set_option warn.sorry false in\nCLAIM\n  sorry"
  ),
  # Trust in more than the kernel.
  "an axiom": "axiom helper : 2 + 2 = 5\n\nCLAIM\n  exact helper",
  "an axiom by a macro": (
    'macro "trust" : command => `(axiom helper : 2 + 2 = 5)\ntrust\n\n'
    "CLAIM\n  exact helper"
  ),
  "an axiom by run_cmd": (
    "open Lean Elab Command in\n"
    "run_cmd elabCommand (← `(axiom helper : 2 + 2 = 5))\n\n"
    "CLAIM\n  exact helper"
  ),
  "no kernel": "set_option debug.skipKernelTC true in\nCLAIM\n  decide",
  "proofs as sorry": "set_option debug.byAsSorry true in\nCLAIM\n  trivial",
  "native_decide": "CLAIM\n  native_decide",
  "implemented_by": (
    "def yes (_ : Nat) : Bool := true\n"
    "@[implemented_by yes] def no (_ : Nat) : Bool := false\n\n"
    "CLAIM\n  native_decide"
  ),
  "csimp": (
    "def no : Bool := false\n"
    "@[csimp] theorem swap : @no = @Bool.true := by\n  native_decide\n\n"
    "CLAIM\n  native_decide"
  ),
  "extern": (
    '@[extern "lean_nat_dec_eq"] opaque no : Nat → Nat → Bool\n\n'
    "CLAIM\n  native_decide"
  ),
  # Code that runs while Lean elaborates.
  "a forged audit by #eval": f'#eval IO.println "{_PRINT}"\n\nCLAIM\n  sorry',
  "another #print axioms": (
    'elab "#print" "axioms" x:ident : command => '
    f'Lean.logInfo "{_PRINT}"\n\nCLAIM\n  sorry'
  ),
  "a forged reply": (
    'CLAIM\n  run_tac IO.println "{\\"env\\": 3}\\n\\n"\n  trivial'
  ),
  "the end of the process": (
    "#eval (IO.Process.exit 0 : IO Unit)\n\nCLAIM\n  rfl"
  ),
  "a file written": 'CLAIM\n  run_tac IO.FS.writeFile "proved" ""\n  trivial',
  "a program started": (
    'CLAIM\n  run_tac discard (IO.Process.output {cmd := "id"})\n  trivial'
  ),
  # Another meaning.
  "a notation": 'notation:max "5" => 4\n\nCLAIM\n  rfl',
  "a macro": "macro_rules | `(2 + 2 = 5) => `(True)\n\nCLAIM\n  trivial",
  "an instance": "local instance : OfNat ℕ 5 := ⟨4⟩\n\nCLAIM\n  rfl",
  "a false variable": "variable (h : False)\ninclude h\nCLAIM\n  exact h.elim",
  "a namespace": "namespace Other\nCLAIM\n  rfl\nend Other",
  # Another statement.
  "a true statement": "theorem doctor_claim : 2 + 2 = 4 := by\n  rfl",
  "a weaker statement": "theorem doctor_claim : 2 + 2 ≤ 5 := by\n  decide",
  "a hypothesis": (
    "theorem doctor_claim (h : 2 + 2 = 5) : 2 + 2 = 5 := by\n  exact h"
  ),
  "another name": "theorem doctor_claim' : 2 + 2 = 4 := by\n  rfl",
  "a quoted name": "theorem «doctor_claim» : 2 + 2 = 4 := by\n  rfl",
  "a private theorem": "private CLAIM\n  rfl",
  # Text that resembles the claim but does not state it.
  "a claim after #exit": "#exit\n\nCLAIM\n  rfl",
  "a claim in a comment": "/-\nCLAIM\n  rfl\n-/\nexample : 1 = 1 := by\n  rfl",
  "a claim in nested comments": (
    "/- /- -/\nCLAIM\n  rfl\n-/\nexample : 1 = 1 := by\n  rfl"
  ),
  "a claim in a string": 'def text := "\nCLAIM\n  rfl"',
  "a claim after U+2028": "-- \u2028CLAIM\n  rfl",
  "a claim of invisible marks": "-- \u202e\nCLAIM\n  rfl",
}

# Statement and tactics; those of the second table need Mathlib.
_CANARIES = (
  ("1 = 2", ("rfl", "decide", "omega", "simp", "trivial")),
  ("2 + 2 < 4", ("decide", "omega", "simp")),
)
_MATHLIB_CANARIES = (
  ("(1 : ℕ) = 2", ("norm_num", "linarith", "ring")),
  ("∀ x : ℤ, x < x", ("intro x\n  omega", "intro x\n  linarith")),
  ("∀ x : ℝ, 0 < x ^ 2", ("intro x\n  positivity", "intro x\n  nlinarith")),
  ("∃ n : ℕ, n + 1 = 0", ("use 0", "exact ⟨0, by norm_num⟩")),
)
_PROOFS = (
  ("2 + 2 = 4", "rfl"),
  ("2 + 3 = 5", "decide"),
  ("3 + 3 = 6 ∧ 1 < 2", "constructor\n  · omega\n  · decide"),
)


def attacks(*, header: str) -> list[Probe]:
  """Texts that claim a false statement and do not prove it."""
  problem = Problem("doctor_claim", header, _CLAIM)
  return [
    Probe(name, problem, header + text.replace("CLAIM", _CLAIM))
    for name, text in _ATTACKS.items()
  ]


def canaries(*, header: str) -> list[Probe]:
  """False statements with ordinary tactics, Mathlib's only if imported."""
  known = _CANARIES + (_MATHLIB_CANARIES if header == MATHLIB else ())
  return [
    _probe(f"{statement} by {_one_line(tactic)}", statement, tactic, header)
    for statement, tactics in known
    for tactic in tactics
  ]


def proofs(*, header: str) -> list[Probe]:
  """True statements with proofs that hold in every version of Lean."""
  return [
    _probe(f"{statement} by {_one_line(tactic)}", statement, tactic, header)
    for statement, tactic in _PROOFS
  ]


def _probe(name: str, statement: str, tactic: str, header: str) -> Probe:
  problem = Problem(
    "doctor_probe", header, f"theorem doctor_probe : {statement} := by"
  )
  return Probe(name, problem, f"{header}{problem.statement}\n  {tactic}")


def _one_line(tactic: str) -> str:
  return "; ".join(line.strip("· ") for line in tactic.split("\n"))
