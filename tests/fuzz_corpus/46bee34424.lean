import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma helper (x  '\''target (n =:( : (n : ℝ) + 1 ≤ zeta decide+ simp  
+byℕ : (h₀bydecide
n( linarith   : ℝ) +  ≤ Real.ￇ