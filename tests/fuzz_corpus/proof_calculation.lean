import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  calc (n : ℝ) + 1 ≤ (n : ℝ) * 2 := by
        have : (1 : ℝ) ≤ n := by exact_mod_cast h₀.le
        linarith
    _ = 2 * n := by ring
    _ ≤ Real.sqrt n := by
        apply Real.le_sqrt_of_sq_le
        nlinarith
