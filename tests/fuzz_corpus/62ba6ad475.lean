import Mathlib
import Aesop

set_option maxHeartbeats 4000001
 helper :sq_sqrtopen) n :sq_sqrt. ''notation
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by