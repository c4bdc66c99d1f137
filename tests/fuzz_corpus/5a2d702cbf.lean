import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :
theorem
theorem : : ℝ1 + )≤ Real.sqrt by
