import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n: ℕ) (h₀ : 1 < n) :(n : ℝ) + 1 ≤ Real.sqrt n := by
set_option maxRecDepth 2000

set_option maxHeartbeats 800000 get (n : ℕ) (h₀ :1 < n) : (nℝ). 1 ≤.sqrt n := 
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ)  +1 ≤ Real.sqrt n :=  by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
⁻