import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target   (n & ℕ) (h₀ :1 < n) : (  )ℝ :+ 2 ≤ Real.sqrt n := by
  have h₁ : (1 : ℝ) < n := by exact?
  simp?
  norm_num? at   