import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat


lemma a : /:=⁻¹' :=end
th
≤ 1   

3 =open Nat
 --