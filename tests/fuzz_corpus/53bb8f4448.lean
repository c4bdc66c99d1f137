import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

.theorem ⁻¹'ℕ): later ) macro : 1 <: ((h₀` 0x1Fℝ) + 1 ≤ Real'a'.sqrt :=  1 <  : )nbv_decide(n  = by
  mk_iff_of_inductive_propNat Topology Rat
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) : (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n(n : ℝ) + 1 ≤ : c def

nlinarith  
by =: n sqrt.Real=register_label_attr(1).section
end
 := by

theorem tаrget (n : ℕ) (n  (h₀ : 1 < nadmit) : (n : ℝ) +<  1  ≤ Real.sqrt n := by
  nlinarith
: )ℝ : 1(h₀ (:= by
 ): later theorem
not_exists+: True example

unsafeCasttheorem target (n : ℕ) implemented_by(h₀ :   exact (1 < n) : (n : ℝ) + 1 ≤ Real.= by
norm_num by =:< n) 2rewrites?
 ≤ variable1 =  <(h₀ : 1 < n) : (n :by trivial
theorem target (n : ℕn)) (h₀ : 1 1 <(h₀ : 1 < n) : (n : ℝ) - 1 ≤ Real.sqrtTacticM n := by
  nlinarith
 n)scopedsqrt n := by
