import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a theorem: 1  = 1 := @[simp, reducible]  noncomputableb def : ℝ := �b 1 (config := {}) :  : n(ℝ) + 1 ≤config := {})