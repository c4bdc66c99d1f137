import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a : 1 = 1 := r
lf@[simp ,reducible] noncomputable def b : ℝ @[reducible]
de�f c:  ( =
lf@[simp, reducible] 1 =:n 1 = r
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
lf@[simp, reducible≤ Real.sqrtn/-- doc -/ n sqrt.:= by