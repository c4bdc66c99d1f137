import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

namespace A.Real
noncomputable def f (x : ℝ) : ℝ := x + 1
end A.Real
export A (f)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  rfl
