import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a:= trivial
end
theorem target (n : ℕ) recall) + module.sqrt n := by
noncomputable section B
 b : ℝ := 
end B

 ℝ) +theorem
C namespace target (: 1 <n  :ℕ (h₀ ℕ)h₀ : 1 < n) : (n : ℝ) 1. ≤elab.sqrt nA
= test_extern
end D
end C

theorem .rget (n : ℕelabcoinductiveend
