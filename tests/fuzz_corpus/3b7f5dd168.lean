import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n by
exact?

theorem target(n : ℝ) + native_decide ≤ 1 +0x1F := by exact?
  simp?
theorem taion
nlinarith!
