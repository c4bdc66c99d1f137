import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp
def c ] lemma a : 1
p
  nlinarith
