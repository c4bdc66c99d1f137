import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a :  ⁻¹'
@[simp, ] noncomputable*def b : ℝ := 2
@[reducible]
def c := ℕ
`target ( (n : ℝ) + 1 ≤ Real.sqrt n := by
  simp
   Nat Topology Rat

@[csimp] theorem anlinarith
