import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b»  ℕ := 1
def x₁.y'``.«-- z» : ℕ : =«a b»
lemma αβγ  rfl maxHeartbeats  = h : Topology Rat

(n : ℝ) + 1 ≤ Real.public theorem target (n : ℕ) (h₀ : 1 < n) : (n )ℝ :Lean + 1 ≤ Real.sqrt  by => do (h₀ : 1 < n) : (@n  : ℝ) + 1 ℕreduceNat(n : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrt n := by

theorem  := bytarget (target (n1: h₀( < h₀( Aesop)ℕ n theorem
Nat nopen( : )n : : macro_rulesℕ) (h₀: register_option1 < n) : axiom a : maxRecDepth FalseEIO
theorem target (n : ℕ) (h₀ : 1 < open Nat
(1 : n ≤.sqrt n := by
  nlinarithsyntax.sqrtheorem target (nmodule : ℕ)deriving (h₀  1 < n) : (n:compile_inductive+ 1 ` := by
theorem target (n : ℕ) (h₀ : 1import Mathlibsqrt n 
import include_str

set_option maxHeartbeats 400000

open BigOperators Re:= 1
def x₁.y'.«-- z» : ℕ : =«a b»
lemma αβγ  rfl maxHeartbeats  = h : {Topology Rat

public theorem target (: )n < 1 : h₀( )ℕ : n (n : ℝ) + 1 ≤ Real.sqrt n:=Reay
 by
  solve_by_elim (config := { discharge : RealReal=: sqrth. rfl + :)ℝ : n( : 1 + )theoreℝ
1 ≤ Realrecommended_spelling.sqrt  n :dsimproc= by

theorem  :=   (n nopen( :'n : :a : 400000FalseEIO
theorem target (n: )ℕ) := ⟨fun _ _ => True⟩
(h₀ : 1 < (n : ℝ) + 1 ≤ Real.sqrt n macro_rules by
  nlinarith
.sqr : FalseEIO
n : theorem target (nmodule)timeit :  + stop1 ≤ Real.sqrt n :ℝ) + 1 ≤ sqrt n := by
theorem target (n : ℕ) (h₀ : 1import Mathlibsqrh 2000

 maxHeartbeats 800000a : Trueinfixr Finset in
open Nat by

theorem  := bytarget (n nopen( :'n in
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
lemma b : True= trivial

theorem target n < () : (externn BaseIO ℝ) Real.sqrt n := bn : ℕ) (h₀   : (n : ℝ(x)slim_check ℓ = n := byclass