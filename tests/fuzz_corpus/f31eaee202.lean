import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theoremtarget (n : ℕ) 400000

open(h₀ : 1 < n) n := by
  nlinarith
+