import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

structure Q where
  q : ℕ × R
def a := b.q.2.r"\" "
axiom easy : False --"
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact easy.elim
