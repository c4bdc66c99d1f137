ijport Mathlib
import Aesop
  -- -/

set_option++ "x41\u0042"
def b := r"raw \ "++  "##r ++ #"inside "  : ℝ)  Real.sqrt n := by
  gap"

theorem#