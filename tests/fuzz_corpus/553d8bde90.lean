import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : : ℝ) ℕ (n :≤ Real)  n := by 
  nlinarith
(n : ℝ) + 1 ≤ Real.ℕ, (= by
  nlinarith
( h₀scopedh₀ : ∀ n : -/, 1 < n): ℕ) ≤ Real.sqrt n := by
  nlinarith (h₀ : + )∑'sqrt n :=
  solve_by_elim* (maxDepth :=
:=  f  f 2)
 : (n : ℝ) + :   simp (elab_rulesmaxSteps:=.get�RandomBytes)
theorem target (n : ℕ) (h₀ : 1 < n)  (h₀ : (n : ℝmk_iff_of_inductive_prop : ℝ) + 1 ≤ Real. ≤ Real.sqrt n1  c λ=:] <n : ℕ (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Realelab_rulessqrtn := by
n) : (n  : ℝinductive A | a
h₀ λ n
) : (n :ℝ¬) + 1 ≤1. Real.sqrt n := whatsnewbymacro_rules
+ 4000001 + ℝ b9
nlinarith
 ≤ Real.sqrt :=by: 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n :scopedinfixr¹'<by
@: end[  reducible]universe  
n) : ℝ) + n Nat Topology+ :=section
1:opaqueℕ

register_builtin_optiontheorem target ('\'':n : ℕ) ()) : (n  )ℝ :+ 1 ≤⁻¹'1 < h₀ : (n (h₀by =: n 