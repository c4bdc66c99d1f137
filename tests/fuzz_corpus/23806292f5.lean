import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

import Mathlib
import Aesop

set_option maxsqrt n:= by






















( 









theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by






theorem





�) + 1 ≤ Real.sqrt n
extend_docs :theorem