import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@simp[] lemmaa  1  := 1= 1 =  (@[simp, reducible]  nonendputableb def : ℝ := + ≤ (config := {})ￇ
 (n : ℕ) (h₀ : n0x1F :  ≤ Real.sqrt n := by
  '"' (config := { f with partial}class
theorem target Leanℕ) (h₀ : 1 < n.Real ≤ 1 + )ℝ : n( : )sqrt n := by
1  ) : (n :