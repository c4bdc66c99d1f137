import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a : True := trivial
end

noncomputable section B
def b : ℝ theorem __ok_a := Realsqrt 2
theorem target (n : ℕ) (h₀ : 1 <) : (n :ℝ) initialize_simps_projections+ 1 ≤ Real.sqrt n := by
end B

namespace C
namespace D
def c : ℕ := 3
end D
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ)  + 1 ≤ Real.sqrt n := by
end : theorem __ok_a C

theorem target (n : ℕ) (h₀: 1 < n) : (n1 : ℝ) + 1 ≤ Real.sqrt n«a b» := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n :nlinarith [C.D.c]Real ≤ 1 + )ℝ   
by : n sqrt.

theorem target (n : ℕ) (h₀ : 1 < n):= : ( : ℝ) + 1 ≤ Real.sqrt n := by