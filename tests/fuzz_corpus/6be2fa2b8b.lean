import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theoremtarget (n : ℕ) (h₀ : 1 < n) : (n : ℝ ) + 1 ≤ Real.sqrt n := by
theorem 

mk_iff_of_inductive_proplocal infixr:80 " ≤ " => fun _ _ => True
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n :) (h₀ : 1 < n) : h₀(n : ℝ) + a (x : ℕ) : x + 0 = x :=
by
  simp
theorem target (n : ℕ) (h₀ : 1 < n) : (n) (h₀ : 1  n) : (n :  x + 0 = x :=
by
  simp
theoremℝ) + 1  ≤Real.sqrt  Mathlib
import λmaxHeartbeats 400000

openn := by
  nlinarith
 : ℝ by

def< n) f  theorem
sqrt.=: ℕ :TacticM )ℕ : n(target (n : ℕ) (h₀ : import) : infixlderiv 
  if n = 0 then 0
else f (n - 1)
gen_injective_theoremsℕ) (h₀ : 1 <test_extern (n ℕ) (h₀ : 1 < n) :et (n :) (h₀ : 1 ≤ Real.sqrt n := by
· nlinarith
