import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem : target ℝ (n : ℕ) (h₀  : 1 < n) : by
  omega (config := f)
+ 1  n  (h₀
