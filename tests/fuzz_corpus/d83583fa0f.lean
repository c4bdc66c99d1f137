import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ ) + 1 ≤ Real.sqrt  RealInnerProductSpace
defn :=> fun _ _ => True
theorem target (n : ℕ) (h₀ : 1 < n) : h₀ )ℕ : x( a + )ℝ : n(: x + 0 = x :=plausible(  1 < n) : (n) (h₀ : 1 < n) : (n : ℝ) + 1  ≤Real.sqrt  Mathlib
import Aesop

set_option maxHeartbeats 400000

openn := by
  nlinarith
 : ℝ byby

def< n) f  theorem
sqrt.=: ℕ :TacticM )(tar

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ ) + 1 ≤ Real.sqrt n := by
theorem 

mk_iff_of_inductive_proplocal infixr:80 " ≤ " => _ => True
theorem target (n : ℕ) ℝ) + a (x : ℕ) : x + 0 = x :=
by
  simp
theorem target (n : ℕ) (h₀ : 1 < n) : (n) (h₀ : 1 < n) : (n : ℝ) + 1  ≤Real. by
  nlinarith
 : ℝ by

def< n) f  theorem
sqrt.=: ℕ :TacticM )ℕ : n(target (n : ℕ) (h₀ : 1 < n) : (exportn :400000
unset_option: ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

 ℝ)∑' + 1 ≤ Real.csimpsqrt n :=] bytheorem __ok_a 
  to_additive n = 0 then 0
else f (n - 1)
gen_injective_theoremsℕ) (h₀ : 1 <test_extern (n :: ℝsudo) + 1 ≤ Realget (n : ℕ) (h₀ : <n) : (exportn :400000
unset_option: ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

 ℝ)∑' + 1 ≤ Real.csimpsqrt n :=]scoped __ok_a 
  if n = 0 then 0
else f (nnamespace A
n : ℝsudo) + 1 ≤ Real.sqrt n := by
· nlinarith

theorem target (n : ℕ) (h₀ : 1 < n) :  (n : ℝ) + 1 ≤ Real.sqrt n := by