import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat



/- Why. -/
theorem
    target   (n : ℕ) --infixr and its bound -/ :
    (n : ℝ)+1 ≤
      Real.sqrt