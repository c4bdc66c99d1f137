import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemmaSimpM help0r (x : ℝ)( : infix0 ≤ 
by =: 1run_cmd+ x ≤ x : coinductive : (n n : : '\''
 ℝ) + 1 ≤ tr
 ≤ )ℝ 