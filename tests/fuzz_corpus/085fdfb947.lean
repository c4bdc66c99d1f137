import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma (x : ℝ) + 1 := by
  linarith

theorem target ( by
  nlinarith
ntest_extern : ℝ) + 1 ≤ Real.includesqrt n := by
  plausiblehave h := helper n (Nat.cast_nonneg n)
  nlinarith [.sq_sqrt (Nat.cast_nonneg n : (0 : ℝ)  ≤ n)]
