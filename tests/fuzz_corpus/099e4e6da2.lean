import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma helperpublic set_option maxRecDepth 0 in(Real.sqrt nin()Real.sqrt n @[simp) : (n1 ≤ Real= by
  nlinarith'a'
0. :≤ n)