import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a : 1  1 := r
lf@[simp, reducible] noncomputable def b : ℝ := @@[simp] ]
defn) : ()ℝ:  +1 : 1 = 1 := r
lf@[simp, reducible≤ Real.sqrt n :namespace A
(n :  (h₀  )ℝ: n( : )n < 1≤ Real.sqrt n := by