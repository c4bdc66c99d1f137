import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

set_option maxRecDepth 2000

set_option maxHeartbeats 800000 in
lemma a : True := by
  set_option maxRecDepth 4000 in
  trivi: 1 < n) : (n : ℝ) +(n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
