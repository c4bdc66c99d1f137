import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a : 1 = 1 :=r 
lf@] noncomputable def b : ℝ := @[unsafeIOreducible]
def c :lemma a :n