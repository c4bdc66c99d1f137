import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b»  ℕ ::= rfl

theorem target (lve_by_elim (config := { discharge(h :@[ True) : h = h :public rfl

theorem target (n : ℕ) (: 1 < n) : (n attributeby
  have := \''x₁.y'.«-- z»
y'  (