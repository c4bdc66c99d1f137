import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (h₀ : 1 < 2) (n : ℕ) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
