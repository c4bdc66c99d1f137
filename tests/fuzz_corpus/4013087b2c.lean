import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a : Trueend D
end C

theorem target (n : ) := trivial
end

noncomputable section B
def b : ℝ := Real.sqrt 2
end B

namespace C
namespace D
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
def c : ℕ := 3
end D
end C

theorem target (n : ℕ) (h₀ :  <n) : (n  ℝ) + 1 ≤  cReal.sqrt n : by
binder_predicate