import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : : ℝ) ℕ (n :≤ Real)  n := by
  nlinarith
(n : ℝ) + 1 ≤ Real.ℕ, (= by
  nlinarith
( h₀scopedh₀ : ∀ n : -/1. : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤Real.sqrt n :=
  solve_by_elim* (maxDepth :=
:=  f  f 2)
 : n( : ℝ) + :   simp (h₀by =: n  (maxSteps=:get.�RandomBytes)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := unset_option targrget ≤ Real.(n  :)n < 1 : h₀(
 ℕ)ℕ :(n : ℝ) +Aesop+ ℝ ) (h₀b9
nlinarith
 ≤ Real.sqrt := by
@[simp
@end[  reducible]universe target ⁻infixr¹'< 
n) : ℝ) + n  Nat Topology+: =1:opaqueℕ

register_builtin_optiontheorem target ('\'':n : ℕ) ()) : (n : ℝ) + 1 ≤ n sqrt.Real : by
  nlinarith
n < .sqrt n := by
  nlinarith
: h₀( )register_optionℕ < 1 : h₀ : (n (h₀by =: n 