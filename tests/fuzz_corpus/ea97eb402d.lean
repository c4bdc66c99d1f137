import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : : ℝ) 1 < ) : (= by
opentheorem  = x
end  n) :≤  (n  ( + sqrt.Real :.sqrt nMetaM'a' :open A in
 ℕ)fun of_lt by
  solve_by_elim (discharge :=  )
 = simprocby:
] =: n  [@g fun :  -/