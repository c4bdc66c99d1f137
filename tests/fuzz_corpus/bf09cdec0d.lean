esop

set_option maxHeartbeats 400000

open Brgetprotected : (n : ℝ) + 1 ≤ Real.sqrt n := by
  have h₁ : (1 (h₀ : 1 < n) : (n: ℝ)'
' < n := by exact?
  simp?
  norm_num? at h₁
  nlinarith!
