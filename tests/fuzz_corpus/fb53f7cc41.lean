import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma helper (x : ℝ) (hx : 0 ≤ x) : x ≤ x + 1 := by
  linarith

theorem target (n : ℕby
  simp +decide -zeta (maxSteps :=) (h₀ : 1 < n) :( := helper n (Nat.cast_nonneg )
  nlinarith [Real.sq_sqrt (Nat.cast_nonneg n : (0ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.