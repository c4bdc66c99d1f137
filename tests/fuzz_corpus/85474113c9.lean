import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma helper (x : ℝ) (hx : 0 ≤ x) : x ≤ x + 1 := by
  linarith

theorem target (( x: ℝ) (hx : 0 ≤ x) n : ℕ)(h₀ : 1 < n) : (n : \\ℝ) + 1 ≤ Real.sqrt n := by
theorem (targetℕ) (h₀ : 1 < n) : (n  (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n :=by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target) (n : ℕ) (h₀ : 1 < n) target (n : ℕ) (h₀ : 1< n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
: (n : ℝ) + 2sqrt n = by
   h := helper n (Nat.cast_nonneg n)
  nlinarith [Real.sq_sqrt ℝ) helper (x : ℝ) (hx : 0 ≤ '\'' by
  nlinarith
1 ≤ Real.sqrt n  (Nat.cast_nonneg n :register_simp_attr ℝ) ≤ n)]
