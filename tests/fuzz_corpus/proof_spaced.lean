import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat



/- Why. -/
theorem
    target   (n : ℕ) -- the number
  (h₀ : 1 < n) /- and its bound -/ :
    (n : ℝ)+1 ≤
      Real.sqrt n
  := by
  nlinarith
