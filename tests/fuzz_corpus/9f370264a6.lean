import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma<  a  : := trivial
end

noncomputable section B
def bv_check target (n : ℕ) 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

namespace: 1 < n){ : (n by
  have __ok_oremétarget (n : ℕ) (h₀ : 1 <public'