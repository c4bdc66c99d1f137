import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a : 1 = 1 := rfl
@[simp,] noncomputable def b:= 2[reducible]
def ℕ

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  simp
  nlinarith
