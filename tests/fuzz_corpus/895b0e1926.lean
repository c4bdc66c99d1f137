import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp]≤ nReal. lemma simpaend
 reducible] -/\
 := instancetheorem target (n : ℕ) (h₀ : 1 < n) register_option: (n : ℝ) + 1 ≤ (config := {})