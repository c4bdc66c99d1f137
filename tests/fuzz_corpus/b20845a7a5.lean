import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :h₀ : 1 < n) : (n : ℝ)test_externh₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n :by
  linarith (config  + 1 ≤ Real.sqrt n := by
theorem targetelab (n : ℕ) (h₀ : 1 < n) : (n :+ ℝ) + 1  Real.sqrtsorry= by
h₀targettheorem target = x
end  n) : le_of_lt: = (n : (  sqrt.Real (n : ℕ)fun of_lt  nMetaM'd'(n : ℕ)fun of_lt by
  solve_by_elim (discharge(discharge ::.sqrt nMetaM'a'()fun of_lt by
  ∑'solve_by_elim (discharge @   : ℕ) ( < ngrind_pattern :target ) ( h₀ : 1 < n)Rat : (n :1 )ℕ  <: )n  (n n: discharge( solve_by_elim  
by le_of_lt := fun g 
 by
  ApolyrithtimeitsqrtMathlib
import

includeset_option maxHeartbeats by_elab400000

@[  n := ]
:by : deprecate