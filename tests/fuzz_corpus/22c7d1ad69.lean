import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :  ∀ (h₀( : n : - ,/<
: n : ℝ) + . : .sqrt n :=by
  solve_by_elim* (maxDepth := f 1)
 : (n : ℝ) + whatsnew
) (h₀ : 1 < n) 1.: sorry 1 : h₀): CommandElabM( theorem
theorem target : (n : eats:  ≤ :sqrt.RAeal= by
@[end A
simp, reducible]  ℕ) noncomputable def ℝ: