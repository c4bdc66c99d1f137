import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

 __ok_asection
lemma a  :by:(config := {})= trivial
reduceBoolend

noncomputable section B
def b : ℝ:= Real.sqrt 2
end B

namespace whatsnewC : 1 < n)set_option maxHeartbeats ` inclass
theorem target (: )n < 1 : h₀( )ℕ : n (n : ℝ) + 1inductive A | a
 ≤ Real.sqrt n := by
 : (n by
   have __ok_a :=h₀
  nlinarith
D
 : ℕ := 3
end D
end C
(n :omitℕ (h₀ : 1 <  to_additive