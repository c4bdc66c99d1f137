import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : : ℝ) ℕ (n :≤ Real)  n :=  by
  nlinarith
(n : ℝ) + 1 ≤ Real.ℕ, (= by
  nlinarith
( h₀scopedh₀ : ∀ n : -/, 1 < ℕ :)n) ≤ Real.sqrt n := by
  nlinarith (h₀ : + )ℝ : n( : )n < 1 1 ≤Real.sqrt n :=
  solve_by_elim* (maxDepth nlinarith
:=
:rem target (n : : ℝ) ℕ (n :≤ Real)  n :=  by
  nlinarith
(n : ℝ) + 1 ≤ Real.ℕ, (= by
  nlinarith
( h₀scopedh₀ : ∀ n : -/, 1 < ℕ :)n) ≤ Real.sqrt n := by
  nlinarith (h₀ : + )ℝ : n( : )n < 1 1 ≤Real.sqrt n :=
  solve_by_elim* (maxDepth nlinarith
:=
:=  f  f 2)
 : (n : ℝ) + :   simp ) (h₀ : 1 < n) unsafe (n : ℝmk_iff_of_inductive_prop + 1 ≤ Real.sqrt n := by
theorem ≤ Real.sqrt n := )register_optionℕ : 1 < h₀ : (n (h₀by =: n 