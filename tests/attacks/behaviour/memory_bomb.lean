import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  have : 2 ^ (2 ^ 40) = 2 ^ (2 ^ 40) := by norm_num -- FAULT:memory
  nlinarith
