"""Each tactic proves what Lean's tactic proves, and fails where that fails."""

import pytest

from kimina_jax.minilean.environment import Environment, run_source

PROVED = [
  # Numerals.
  "theorem t : 2 + 3 * 4 = 14 := by norm_num",
  "theorem t : (2 : ℝ) / 3 + 1 / 3 = 1 := by norm_num",
  "theorem t : (2 ^ 20 + 1) % 7 ≠ 0 ∧ ¬3 ∣ 10 := by norm_num",
  "theorem t : 2 + 3 = 5 := by rfl",
  "theorem t : 2 + 3 = 5 := rfl",
  "theorem t : 2 + 3 < 6 ∨ 1 = 2 := by decide",
  "theorem t : 2 + 3 = 5 := by simp",
  "theorem t : 2 * 3 ≤ 6 := by trivial",
  "theorem t : ((2 : ℕ) : ℝ) + 1 = 3 := by norm_num",
  # Hypotheses in norm_num.
  "theorem t (x : ℝ) (h : x = 3) : x ^ 2 + x = 12 := by norm_num [h]",
  "theorem t (x : ℝ) (h : 2 + 3 < 4) : x = 12 := by norm_num at h",
  "theorem t (x : ℤ) (h : x = 2 + 3) : x = 5 := by\n  norm_num at h\n  exact h",
  "theorem t (x : ℤ) (h : x = 2) (k : x + 1 = 4) : x = 9 := by\n"
  "  norm_num [h] at k",
  # Linear arithmetic.
  "theorem t (x y : ℝ) (h : x + y = 3) (k : x - y = 1) : x = 2 := by linarith",
  "theorem t (x : ℚ) (h : x / 2 < 3) : x < 6 := by linarith",
  "theorem t (x : ℤ) (h : x < 3) : x ≤ 2 := by linarith",
  "theorem t (x y : ℕ) (h : x + y = 0) : x = 0 := by linarith",
  "theorem t (x : ℝ) (h : ¬x < 3) : 2 ≤ x := by linarith",
  "theorem t (x y : ℝ) (h : x * y = 2) : 2 * (y * x) = 4 := by linarith",
  "theorem t (x : ℝ) (h : 0 < x ∧ x < 1) : x < 2 := by linarith",
  "theorem t (x : ℤ) (h : 2 * x + 1 = 7) : x = 3 := by omega",
  "theorem t (n : ℕ) (h : n % 4 = 3) : n % 2 = 1 := by omega",
  "theorem t (a b : ℕ) (h : a < b) : a - b = 0 ∧ b - a > 0 := by omega",
  "theorem t (n : ℕ) : 2 ∣ n ∨ 2 ∣ n + 1 := by omega",
  "theorem t (n : ℕ) (z : ℤ) (h : z = n) : z ≥ 0 := by omega",
  "theorem t (x : ℤ) : x % 3 < 3 ∧ x / 1 = x := by omega",
  "theorem t : ∀ x : ℕ, x < 3 → x ≤ 2 := by omega",
  # Nonlinear arithmetic.
  "theorem t (a b : ℝ) : a * b ≤ (a ^ 2 + b ^ 2) / 2 := by\n"
  "  nlinarith [sq_nonneg (a - b)]",
  "theorem t (x : ℝ) (h : 2 < x) : 4 < x * x := by nlinarith",
  "theorem t (x y : ℝ) (h : 0 < x) (k : 0 < y) : 0 < x * y := by\n"
  "  exact mul_pos h k",
  "theorem t (x : ℝ) : 0 ≤ x ^ 2 + 1 := by positivity",
  "theorem t (x : ℝ) (h : 0 < x) : 0 < x / 2 + x ^ 3 := by positivity",
  # Identities.
  "theorem t (x y : ℤ) : (x - y) * (x + y) = x ^ 2 - y ^ 2 := by ring",
  "theorem t (x y : ℕ) : (x + y) ^ 2 = x ^ 2 + 2 * x * y + y ^ 2 := by ring",
  "theorem t (x : ℝ) (h : x ≠ 0) : 2 * x / 4 = x / 2 := by ring",
  # Rewriting.
  "theorem t (x : ℝ) (h : x = 2) : x + x = 4 := by\n  rw [h]\n  norm_num",
  "theorem t (x y : ℝ) (h : x = y) : y + 1 = x + 1 := by rw [← h]",
  "theorem t (x y : ℕ) (h : x = 2) (k : y = x + 1) : y = 3 := by rw [k, h]",
  "theorem t (x y : ℤ) (h : x < y) (k : y = 2) : x < 2 := by\n"
  "  rw [k] at h\n  exact h",
  "theorem t (x y : ℝ) : x * y + 1 = y * x + 1 := by rw [mul_comm]",
  "theorem t (x y : ℝ) : 0 ≤ (x - y) ^ 2 := by apply sq_nonneg",
  "theorem t (x : ℤ) : x = x ∨ x = 1 := by\n"
  "  rcases le_total x 1 with h | h <;> (\n    left\n    rfl\n  )",
  # Logic.
  "theorem t (p q : Prop) (h : p ∧ q) : q ∧ p := ⟨h.2, h.1⟩",
  "theorem t (p q : Prop) (h : p ∨ q) : q ∨ p := by\n"
  "  rcases h with h | h\n  · right\n    exact h\n  · left; assumption",
  "theorem t (p q : Prop) : p → q → p := fun hp _ => hp",
  "theorem t (p q : Prop) (h : p → q) (k : ¬q) : ¬p := by\n"
  "  intro hp\n  exact k (h hp)",
  "theorem t (p : Prop) (h : p) (k : ¬p) : 1 = 2 := by contradiction",
  "theorem t (p q : Prop) : p ∧ q ↔ q ∧ p := by\n"
  "  constructor\n  · rintro ⟨a, b⟩\n    exact ⟨b, a⟩\n"
  "  · intro h\n    exact ⟨h.right, h.left⟩",
  "theorem t (h : ∃ x : ℕ, x > 3) : ∃ y : ℕ, y > 2 := by\n"
  "  obtain ⟨x, hx⟩ := h\n  exact ⟨x, by omega⟩",
  "theorem t : ∃ x y : ℤ, x + y = 5 ∧ x < y :=\n"
  "  ⟨2, 3, by norm_num, by norm_num⟩",
  "theorem t : ∃ x : ℝ, 2 * x = 7 := by\n  refine ⟨7 / 2, ?_⟩\n  norm_num",
  "theorem t : ∃ x : ℤ, x + 2 = 5 := by\n  use 3\n  norm_num",
  "theorem t : ∃ x, x + 2 = 5 := by use 3",
  "theorem t (x : ℤ) (h : x = 1 ∨ x = -2) : x ^ 2 + x = 2 := by\n"
  "  rcases h with rfl | rfl <;> norm_num",
  "theorem t (x : ℤ) (h : x = 1 ∨ x = -2) : x ^ 2 + x = 2 := by\n"
  "  cases' h with h h <;> norm_num [h]",
  "theorem t (x y : ℕ) (h : x = 2 ∧ y = x + 1) : y = 3 := by\n"
  "  rcases h with ⟨rfl, h⟩\n  omega",
  "theorem t (h : ∀ x : ℕ, x < 2 → x = 1) : False := by\n"
  "  have k := h 0 (by norm_num)\n  omega",
  "theorem t (x : ℝ) (h : x + 1 = 3) : x = 2 := by\n"
  "  have k : 2 * x = 4 := by linarith\n  linarith",
  "theorem t (x : ℝ) (h : ¬(x < 1 ∨ 2 < x)) : 1 ≤ x := by\n"
  "  push_neg at h\n  exact h.1",
  "theorem t (x : ℤ) (h : x * 2 = 5) : False := by\n"
  "  by_cases k : x ≤ 2\n  · omega\n  · exfalso; omega",
  "theorem t (x : ℕ) (h : 3 < x) : x ≠ 2 := by\n  by_contra k\n  omega",
  "theorem t (x : ℕ) : x ≥ 0 := by show 0 ≤ x; exact Nat.zero_le x",
  "theorem t (x y : ℤ) (h : x ≤ y) (k : y ≤ x) : x = y := le_antisymm h k",
  "theorem t (x : ℤ) : x < x + 1 ∧ x ≤ x := by\n  constructor <;> (try omega)",
  "theorem t (x : ℤ) : x < x + 1 ∧ x ≤ x := by\n"
  "  refine ⟨?_, ?_⟩\n  all_goals linarith",
  "theorem t : " + "(" * 5000 + "1 = 1" + ")" * 5000 + " := rfl",
]

REFUSED = [
  # A tactic outside of its domain.
  ("theorem t (x : ℝ) : x ≤ x + 1 := by ring", "ring"),
  ("theorem t (x : ℤ) (h : x = 1) : x + 1 = 2 := by ring", "ring"),
  ("theorem t (x y : ℕ) : x - y + y = x := by ring", "ring"),
  ("theorem t (x : ℝ) (h : x < 1) : x < 2 := by omega", "omega"),
  ("theorem t (x y : ℤ) : (x + y) * x = x * x + y * x := by omega", "omega"),
  ("theorem t (x : ℤ) (h : 2 * x = 1) : False := by linarith", "linarith"),
  (
    "theorem t (x y : ℝ) (h : 0 < x) (k : 0 < y) : 0 < x * y := by linarith",
    "linarith failed to find a contradiction",
  ),
  (
    "theorem t (a b : ℝ) : 2 * a * b ≤ a ^ 2 + b ^ 2 := by linarith",
    "linarith failed",
  ),
  ("theorem t (x : ℝ) (h : x < 1) : x ≠ 2 := by linarith", "linarith"),
  ("theorem t (x : ℤ) (h : x = 2) : x + 1 = 3 := by norm_num", "norm_num"),
  ("theorem t (x : ℤ) (h : x < 2) : x < 3 := by norm_num [h]", "norm_num"),
  ("theorem t : 2 + 2 = 5 := by norm_num", "unsolved goals\n⊢ False"),
  ("theorem t : 2 + 2 = 5 := by decide", "is false"),
  ("theorem t : 2 + 2 = 5 := by simp", "unsolved goals\n⊢ False"),
  ("theorem t : (2 : ℝ) + 2 = 4 := by rfl", "rfl"),
  ("theorem t : (2 : ℝ) + 2 = 4 := by decide", "failed to synthesize"),
  ("theorem t : (2 : ℝ) + 2 = 4 := by simp", "simp made no progress"),
  ("theorem t (x : ℕ) : x < x + 1 := by decide", "free variables"),
  ("theorem t : 2 < 3 := by rfl", "rfl"),
  ("theorem t (x : ℝ) (h : 0 < x) : x < x + x := by positivity", "positivity"),
  ("theorem t (x y : ℝ) : 0 ≤ x * y := by positivity", "positivity"),
  # Rewriting.
  ("theorem t (x : ℕ) (h : x = 2) : 3 = 3 := by rw [h]", "Did not find"),
  ("theorem t (x : ℝ) (h : x = 2) : x + 2 = 4 := by rw [h]", "⊢ 2 + 2 = 4"),
  ("theorem t (x : ℕ) (h : x = 2) : x ^ 2 = 4 := by rw [h]", "⊢ 2 ^ 2 = 4"),
  ("theorem t (x : ℕ) (h : x < 2) : x = 4 := by rw [h]", "not an equation"),
  (
    "theorem t (h : ∀ a : ℕ, a = a * 1) : ∀ b c : ℕ, b = c := by rw [h]",
    "Did not find",
  ),
  # Types that differ only by a coercion.
  (
    "theorem t (n m k : ℕ) (h : (n : ℤ) / m = k) : (n : ℝ) / m = k := h",
    "mismatch",
  ),
  (
    "theorem t (n m k : ℕ) (h : (n : ℤ) / m = k) : (n : ℝ) / m = k := by\n"
    "  apply h",
    "mismatch",
  ),
  (
    "theorem t (n m k : ℕ) (h : (n : ℤ) / m = k) : (n : ℝ) / m = k := by\n"
    "  norm_num [h]",
    "no progress",
  ),
  (
    "theorem t (n m k : ℕ) (h : (n : ℤ) / m = k) : (n : ℝ) / m = k := by\n"
    "  rw [h]",
    "Did not find",
  ),
  (
    "theorem t (n m k : ℕ) (h : (n : ℤ) / m = k) : (n : ℝ) / m = k := by\n"
    "  linarith",
    "linarith failed",
  ),
  # Structure.
  (
    "theorem t : 1 = 1 ∧ 2 = 2 := by\n  constructor\n  rfl",
    "unsolved goals\ncase right\n⊢ 2 = 2",
  ),
  (
    "theorem t : 1 = 1 ∧ 2 = 2 := by\n  constructor\n  · rfl",
    "unsolved goals\ncase right\n⊢ 2 = 2",
  ),
  ("theorem t : 1 = 1 := by\n  rfl\n  rfl", "No goals to be solved"),
  (
    "theorem t : ∃ x, x + 2 = 5 := by\n  use 3\n  norm_num",
    "No goals to be solved",
  ),
  ("theorem t : ∃ x : ℤ, x + 2 = 5 := by use 3", "unsolved goals"),
  ("theorem t : ∃ x : ℤ, x + 2 = 5 := ⟨4, by norm_num⟩", "⊢ False"),
  ("theorem t : 1 = 1 := by", "unsolved goals\n⊢ 1 = 1"),
  ("theorem t : 1 = 1 := by\nrfl", ""),
  ("theorem t : 1 = 1 := by\n  rfl rfl", "unexpected token"),
  (
    "theorem t (p q : Prop) (h : p ∨ q) : p := by\n  rcases h with h | h\n"
    "  · exact h\n  · exact h",
    "Type mismatch",
  ),
  ("theorem t (p q : Prop) (h : p) : p ∧ q := ⟨h, h⟩", "Type mismatch"),
  ("theorem t (p q : Prop) (h : p → q) : q → p := h", "Type mismatch"),
  ("theorem t (x : ℤ) (h : x = 1) : x = 2 := by assumption", "assumption"),
  ("theorem t (x y : ℤ) (h : x < y) : y < x := by exact h", "Type mismatch"),
  (
    "theorem t (x : ℕ) : x = 0 := by\n  have h : x = 0 := by omega\n  exact h",
    "omega could not prove",
  ),
  ("theorem t (x : ℕ) : x = 0 := by\n  try omega", "unsolved goals"),
  ("theorem t (x : ℕ) : x = 0 := t x", "Unknown identifier `t`"),
  ("theorem t (x : ℕ) (h : ∀ y : ℕ, y < x) : x = 0 := by\n  exact h", "Type"),
  ("theorem t : ∃ x : ℤ, ∀ y : ℤ, x = y := ⟨y, fun y => rfl⟩", "Unknown"),
  ("theorem t : ∀ y : ℤ, ∃ x : ℤ, x = y + 1 := fun y => ⟨y, rfl⟩", "mismatch"),
  ("theorem t (False : Prop) (h : False) : 1 = 2 := by contradiction", ""),
  ("theorem t (p : Prop) (h : p) : ¬p := fun k => k", "Type mismatch"),
  # A variable that is a proposition is no hypothesis.
  ("theorem t : ∀ p : Prop, p := by\n  rintro (p)\n  assumption", "a name"),
  ("theorem t : ∀ p : Prop, p := by\n  intro ⟨p⟩\n  exact p", "a name"),
  (
    "theorem t : True → ∀ h : Prop, h ∧ True := by\n  intro h h\n"
    "  norm_num at *\n  assumption",
    "`assumption` failed",
  ),
  # Nested binders: each `x` is bound by the nearest one.
  (
    "theorem t (p : Prop) (k : p) : False := by\n"
    "  have h : p ↔ ∀ x : ℕ, p ∧ 5 * x = x + 4 * x :=\n"
    "    ⟨fun a x => ⟨a, by ring⟩, fun a => (a 0).1⟩\n"
    "  rw [h, h] at k\n  have l := ((k 5).1 1).2\n  norm_num at l",
    "unsolved goals",
  ),
  (
    "def d : Prop := ∀ (p : Prop) (x : ℕ), p → p ∧ 5 * x = x + 4 * x\n"
    "theorem h : d := fun p x k => ⟨k, by ring⟩\n"
    "theorem t : 1 * 1 = 1 + 4 * 1 := ((h d 5 h).1 True 1 True.intro).2",
    "5 * 1 = 1 + 4 * 1\n",
  ),
  ("theorem t (h : 1 = 1) : 1 = 2 := by\n  simp at h h", "unsolved goals"),
  # Names that are declared already, and `_`, which is no name.
  ("theorem sq_nonneg : 1 = 1 := rfl", "already been declared"),
  ("theorem t (_ : 1 = 2) : 1 = 2 := by exact _", "placeholder"),
  ("theorem t (_ : ℕ) : _ = _ := rfl", "Unknown identifier `_`"),
  # Text outside of the fragment.
  ("theorem t : 1 = 1 := by native_decide", "unknown tactic 'native_decide'"),
  ("theorem t : 1 = 1 := by exact?", "unknown tactic 'exact?'"),
  ("axiom t : 1 = 2", "expected command"),
  ("theorem t : 1 = 1 := sorryAx _ false", "Unknown identifier `sorryAx`"),
  ("instance : 1 = 1 := rfl", "expected command"),
  ('macro "x" : tactic => `(tactic| rfl)', ""),
  ("set_option debug.skipKernelTC true", ""),
  ("import Evil", "unknown module prefix 'Evil'"),
  ("example : 1 = 1 := rfl\nimport Mathlib", "import"),
  ("theorem t : 1 = 1 := by /- rfl", "unterminated comment"),
  ("def Nat : Prop := True", "unexpected token"),
  ("def f : ℕ := 3", "only `def name : Prop"),
  (
    "def t : Prop := True\ntheorem t : True := trivial",
    "already been declared",
  ),
  ("theorem t (x : ℕ) : x " + "+ x " * 400 + "= 0 := by omega", "recursion"),
  ("theorem t : " + "¬" * 3000 + "1 = 1 := by norm_num", "recursion"),
  ("theorem t : 10 ^ 10 ^ 10 = 10 ^ 10 ^ 10 + 1 := by norm_num", "unsolved"),
]


@pytest.mark.parametrize("text", PROVED)
def test_proved(text):
  outcome = run_source(Environment(), text)
  assert not outcome.diagnostics, outcome.diagnostics[0].text
  assert "t" in outcome.environment.theorems


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text, message):
  outcome = run_source(Environment(), text)
  assert outcome.diagnostics[-1].severity == "error"
  assert message in outcome.diagnostics[-1].text
  assert "t" not in outcome.environment.theorems


def test_errors_of_a_nested_block_do_not_hide_the_rest():
  text = (
    "theorem t (x : ℤ) (h : x = 1) : x = 1 ∧ x = 2 := by\n"
    "  have k : x = 5 := by\n"
    "    linarith\n"
    "  constructor\n"
    "  · ring\n"
    "  · omega -- from the false k\n"
  )
  outcome = run_source(Environment(), text)
  places = [(r.span.line, r.span.column) for r in outcome.diagnostics]
  assert places == [(3, 4), (5, 4)]
  assert "t" not in outcome.environment.theorems


def test_a_failed_attempt_leaves_no_trace():
  text = (
    "theorem t : 1 = 1 := by\n"
    "  try (have h : 1 = 2 := by sorry)\n"
    "  try (have h : 1 = 2 := by omega)\n"
    "  rfl\n"
  )
  outcome = run_source(Environment(), text)
  assert [r.severity for r in outcome.diagnostics] == ["warning"]
  assert outcome.environment.theorems["t"].axioms >= {"sorryAx"}


def test_later_commands_survive_a_bad_one():
  text = "theorem a : 1 = 2 := rfl\nfoo bar\ntheorem b : 1 = 1 := rfl"
  outcome = run_source(Environment(), text)
  assert set(outcome.environment.theorems) == {"b"}


def test_answers_do_not_depend_on_what_was_asked_before():
  text = (
    "theorem t (x y : ℤ) (h : 5 * x + 3 * y = 1) : x ≠ 2 * y := by\n  omega"
  )
  answers = []
  for k in range(5):
    answers.append(run_source(Environment(), text).diagnostics)
    run_source(
      Environment(), f"example (x : ℤ) : x < x + {k + 1} := by linarith"
    )
  assert all(answer == answers[0] for answer in answers)
