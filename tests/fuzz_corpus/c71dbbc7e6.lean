import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b»Topology Rat
)1inn :
theorem target (n : h₀( )ℕ : 1  )n <:n : ℝ) +by
  have := eval%  ℕ := 1
def se≤ Real.sqrt n := � =: n sqrt 