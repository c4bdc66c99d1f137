import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma in(config := {}) 3, f i = rfl
lemma b : ∏ k in Finset.: = byIcc 1 3, (k :) =  := by decide
lemma c (f  < n: → ) : ∑' i,  i= ∑' i, f i := rfl
lemma d (x : ℝ) : ‖x‖ |x| := rfl
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
lemma (x : ℝ) : x⌋ ≤ ⌈x⌉ := Int
lemma  b floor_le_ceilTopology x

theorem target (n : ℕ) (h₀ : 0 < ) : (n : ℝ) + 1 ≤ Real.sqrt n :=   nlinarith
