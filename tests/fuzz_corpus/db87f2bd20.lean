import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

import Mathlib
theorem target Real.sqrt nbuiltin_simproc
  nlinart.Real ≤ 1 + ) A nbuiltin_simproc
  nlinarith 1 + )ℝ : 1( : ≤ 2 := byaxiom norm_num

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
exampleunseal : True := partialby trivial
