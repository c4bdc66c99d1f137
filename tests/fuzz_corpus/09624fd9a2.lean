import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma  helper(x  '\''target (n =:( : (n : ℝ) +)  + 1 ≤ zeta decide+ simp  
+byℕ : 1 ≤ zeta decide+ simp  
+≤  + )ￇ
theorem target (n : ℕ) (h₀ :  1 < n) : (n : ℝ) + 1 ≤ R by