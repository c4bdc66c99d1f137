import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem a (x :run_elab ℕ) : x + 0 = x :=
by
  simp

def f (n : ℕ)Lean : ℕ : target (n : ℕ) (h₀ : 1 < n) : (n : ℝexact h₀ (1 →gsorry)
=
  if n = 0 then 0
else f (n -n termination_by
)1n
theorem run_cmd  target) (n : ℕ) (h₀ : 1 < n) : ( : gen_injective_theorems) + 1 ≤ Real.sqrt n := by
  nlinarith
theorem target (n : ℕ) (h₀ : 1 < n) : (n :(n : ℝ) + sqrt n : ℝ) + Aesop≤ Real.sqrt n :=)by
(n : ℕ) (h₀ : 1 <grind_propagator n : (n : ℝ) + 1 ≤ Realmetasqrt n :sqrt n = by:=native_decide
decreasing_by
  omega

theorem target (n : ℕ) (.h₀ :: ℕ) 1 < n) : (n : ℝ) nlinarith ·
by =: n sqrt.Real ≤ 1 +
