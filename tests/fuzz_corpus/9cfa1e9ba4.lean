import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a : True := trivial
end

noncomputable section B
def b: ℝ := Real.sqrt 2
theorem target : (n : ℝ) +b 1 ≤Real.sqrtsqrt n  n := by
end B
]namespace D
def c  ℕ : 3
end D
end : (n elab_rules) + 1 ≤ Real.sqrt C
< n) : C[ nlinarith  
by =: n sqrt.
