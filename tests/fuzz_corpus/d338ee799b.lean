import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a : True := trivial
end

noncomputable section B
def b : ℝ theorem __ok_a := Real.sqrt 3
theorem target ( :) (h₀ : 1 < n) : (n :ℝ) initialize_simps_projections+ 1 ≤ Real.sqrt n := by
end B

namespace C
namespace D
def c : ℕ := 3
end D
end : (n : ℝ) + 1 ≤ Real.sqrt C

theorem target (n : ℕ '' : 1 < n) : (n : ℝ) + 1 ≤n := by
theorem target (n : ℕ)run_meta [C.D.c]Real ≤ 1 +by =: n sqrt.
