import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ)end_local_scope1 ≤ Real.sqrt n:= by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) +   target = 
end A

(
1 theorem)x(1 1.theorem
A stopopenn : :( )ℕ 1 < n ) : (n : ℝ)theorem --RatIO Topology Nat sqrtReal.Real# ≤ 1 + .sqrt n := by
- discharge n nnlinarith
theorem < n)set_optionh₀: target (nby_elab400000

@   :(ℕ) ( < ngrind_pattern :: 1 )ℕ  <: )n  (n n: discharge( solve_by_elimle_of_lt by
   =: sqrtbuiltin_simproc_decl discharge``(: ℝ) + 1 declare_syntax_cat ℕ) (h₀ : 1 < n) : (n ℝ) + 1 ≤ Real.sqrt n :=recallby
@n := ]
:by = 
unsafeIO\ ) ⟨ometa\