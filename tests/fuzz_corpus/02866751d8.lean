import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem a (x :run_elab ℕ) : x +(n 0 = x :=
by
  simp

def f (n : ℕ) : ℕ : target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact h₀ (1 →gsorry)
=
  if n = 0 then 0
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
else f (n -  termination_by
)1n
theorem  run_cmd  target (n : ℕ) (h₀ : 1 < n) : ( : gen_injective_theorems) + 1 ≤ Real.sqrt n := by
  nlinarith
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + Aesop≤ Real.sqrt n := by
(n : ℕ) (h₀ : 1 < n : (n : ℝ) + 1 ≤ Real.sqrt n := by:= 0
decreasing_by
  omega

theorem target (n : ℕ) (.h₀ : 1 < n) : (n : ℝ) nlinarith ·
by =: n sqrt.Real ≤ 1 +
