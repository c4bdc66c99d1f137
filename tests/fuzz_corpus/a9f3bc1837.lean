import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  0  :=  (@[simp, reducible]≤ Real.sqrt n := by
1 < 1 config := {}) < n) : (n : ℝ ) + 1 ≤ (config := {})
theorem targetn : ℕ) (h₀ : : ℝ) + 1 def = n := by
  simp (config := { f with maxSteps :)
theorem target (n : ℕ n( : )nℝ < 1 : h₀( ): ℝ){ 1 ≤ Real.sqrt< n≤ :=open A in
