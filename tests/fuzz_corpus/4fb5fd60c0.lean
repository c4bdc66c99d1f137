import Mathlib
import Aesop
theorem target (n : ℕ) (h₀   < n*eta :n := by

set_optiondef target := 1
 (n : ℝ) + 1 ≤ :/-theorem (