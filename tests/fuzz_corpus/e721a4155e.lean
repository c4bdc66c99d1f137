import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def ℝ : a :include_streb1010 + +_00010 + e52 + 3- + 0 b.1 +(1, 2)axiomdef (n : ℕ) (h₀ 1 < n) : (n : ℝ) + 1 ≤ Real.  := by
  norm_num [a]
