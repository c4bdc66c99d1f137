import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : bv_c n := by
  nlinarith
 (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1prefix < n) : ( : ℝ) + 1 ≤Real.sqrt n := by