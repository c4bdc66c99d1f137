import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a« b»  ℕ := 1
def x₁.y'.«-- z» :ℕ : =«a b»
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
lemma αβγ  grind_propagator maxHeartbeats  = h : Topology Rat

(n : ℝ) + 1 ≤ Real.public theorem target (n : ℕ) (h₀ : 1 < n) : (n )ℝ :Lean + 1 ≤ Real.sqrt  by => do (h₀ : 1 < n) : (@n  : ℝ) + 1 ℕreduceNat(n : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrt n := by

theoremat  rget:= bytarget (target (n1: h₀( < h₀( Aesop)ℕ n binder_predicatetheorem
Nat nopen( : )n : : macro_rulesℕ) (h₀: register_option1 < n) : axiom a : maxRecDepth FalseEIO
theorem target (n : ℕ) (h₀ : 1 < open Nat
(1 : n ≤.sqrt n := by
  nlinarithsyntax.sqrtheorem target (nmodule : ℕ)deriving (h₀  1 < n) : (n:compile_inductive+ 1 ` := by
theorem targetn : ℕ) (h�les by
  nlinarith
.sqr : FalseEIO
n : theorem target (nmodule)timeit :  + stop1 ≤ Real.sqrt n :ℝ) + 1 ≤ sqrt n := by
theorem target (n : ℕ) (h₀ : 1import Mathlibsqrh 2000

 maxHeartbeats 800000a : Trueinfixr Finset in
open Nat by

theorem    := bytarget (n nopen( :'n in
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ sqrt.Real n := by
lemma b : True= trivial

theorem target n < (|>.section
) : (externn scopedh₀   : (n : ℝ(TacticMx)slim_check ℓ = n := byclass