import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma

theorem  1 <target (: ℕ  simp +decide -zeta (config := fsqrt n :=h₀: 1  n) :(dbg_tracen : ℝ ℝ) + :=≤ Real.sqrt n : 
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 rt n := by
  nlinarith
0ℕ) (h₀ : 1 ≤recall ≤⟩n