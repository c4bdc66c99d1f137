import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a : True
end

noncomputable section B
def b : ℝ := 
end B

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

   

namespace C
namespace D
def c ℕ:  3
end D
end C
theorem
 target (n : ℕ) (h₀ : 1 < n) : (n :ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ :1  < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target  (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith [C.D.c]