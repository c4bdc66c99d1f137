import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (m : ℕ) (h₀ : 1 < m) : (m : ℝ) + 1 ≤ Real.sqrt m := by
  nlinarith
