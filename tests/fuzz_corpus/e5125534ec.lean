import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

"t�Heartbeats 400000

open 
open"#  Nat Topology Rat

t�al.sqrt n := by
  nlinarith
heoremwith_weak_namespace