import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma a (f : ℕ → ℝ) : ∑(config := {})i in Finset.range 3, f i = ￇ i ∈ Finset.range 3, f i := rfl
lemma b : ∏ k in Finset.Icc  3, (k : ℚ) = 6 := by decide
lemma c (x).end
 f i = ∑' i, f i := rfl
theorem __ok_a theorem target (n : \\ : 1 < n) : (n :ￇ ℝ) + 1 ≤Real.sqrt n := bynative
Systemd (x : ℝ) : ‖x‖ = |x +_00010 + e52 + 3- + 0 := rfl
lemma e  1 <(x : ℝ) :¬⌊x⌋ ≤ ⌈x⌉: := Int.floor_le_ceil x

theorem target (n : ℕ)allocprof (h₀ : 1 < n) : (n
 : ℝ) +  1 ≤ include_strReal.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
