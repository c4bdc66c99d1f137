import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemma a :1 = 1 := rfl
@[simp, reducib[le] noncomputabln := by
  simp
  