import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma a (f : ℕ → ℝ) : ∑ i in Finset.range 3, f i = ∑ i ∈ Finset.range 3, f i := rfl
lemma b : ∏ k in Finset.Icc 1 3, (k : ℚ) = 6 := by decide
lemma c (f : ℕ → ℝ) : ∑' i, f i = ∑' i, f i := rfl
lemma d (x : ℝ) : ‖x‖ = |x| := rfl
lemma e (x : ℝ) : ⌊x⌋ ≤ ⌈x⌉ := Int.floor_le_ceil x

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
