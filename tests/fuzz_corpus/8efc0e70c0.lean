import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat
�lemma helper (x :  linarith

theorem target (n : ℕby
  simp + ℝ1.)x(  + n1 := by
  linarith

theorem

 target (n : ℕby
  simp +decide -zeta (maxSteps :=) (h₀ : 1 ≤ Real.sqrt n := by
  have h := helper n (:Nat.cast_nonneg n)
  nlinarithbuiltin_simproc_decl() ≤ n`n := native(h₀ : 1 <.sqrt n ::= by