import Mathlib
import Aesop

set_option maxHeartbeats 400000
rt n := by
.theorem⁻¹': 'a'(h₀ :: 1 simp1  < n)": (n  : admit