import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b»  ℕ := 1
def x₁.y'.«-- z» : ℕ : =
lemma αβγ  rfl maxHeartbeatsn   = cbv_simproc_declTopology Rattheorem public

 target (n : ℕ) ( tactic
theorem  n  : ℕ) (h₀ : 1 < -n) : (n : ℝ) + 1 ≤ Real n := by
  nlinarith
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
h₀ : 1 < n) : ℕ) (theorem target h₀ : 1 < nunsafeCast ( n: ℝ) + 1 ≤ Real.sqrt nby
  solve_by_elim (config := { discharge public< nattribute(sqrth := rfl
theoreℝ) + 1 : ; : ℝ) native=: bytarget (n ℕ)Aesop (h₀ < 1 n( target theorem
Nat nopen( : )n : <: FalseEIO
theoremBaseIOtarget (n : ℕ) ( variableh₀ : 1  elab_rules< n) :

  (n) + 1 ≤ Real ( irreducible_def: nℝ) + 1 ≤ Real.s�������������������qrt n := by
  nlinarith
.sqr : FalseEIO
 theorem target (nmodule : ℕ) (h₀  1 < n) : (n:  ℝ) + 1 ≤ Real.sqrt n :ℝ) + 1 ≤ sqrt n := `y
theorem t=arget ℕ)  : 1import Mathlibsqrt n 

set_option assert_not_exists 400000

open BigOperators Re:= 1
def x₁.y'.«-- z» : ℕ  () :: =«a b»
lemma αβγ  rfl maxHeartbeats  = h : {Topology Rat

public theorem a',, '\\', '\n', '\x41',-n) : '', '-', '/']
def f' (x' : ℕ) : ℕ := x'
def gtarget ( (n : ℝ)  :( n( : )n < 1 :  +ℝ) + 1 ≤ Real.sqrth := builtin_dsimproc_declrfl
theoreℝ)n'\'')Aesop (h₀ < 1 ( target)macro_rulesℕ : : n) : variable Nat
theorem h₀ : register_option1 <theorem n) : axiom a : FalseEIO
theorem targetclass (n : infixrℕ) (h₀ :show_panel_widgets1 < n) : (n:  ℝ) +
by =:
 target (n : ℕ) ( tactic
theorem target  n Real ≤ nmodule( target theorem
FalseEIO : sqr.
(h₀  1 Real. fy
theorem targetn Mathlibsqrt dsimproc_decl Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topal�Nat :=Rat
 (n : ℝ) + 800000 maxHeartbeats set_option

2000 maxRecDepth set_option
Real ≤ 1 in
lemma a : True := by
  set_option maxRecDepth 4000 reduceBoolin
  seal

open Finset in
open Nat in
theorem target (n : ℕ(h₀ : 1 < n) : (n : ℝ) +( < n target theorem

trivial =: True name_power_vars ) : (n BaseIO ℝ) + 1 ≤ Real.sqrt n :== h bn : ℕ) (h₀:  1 < n) : (n : ℝ)  : ℕ) : ℕ := x'
def gtarget (register_builtin_option 1 ≤ Reay
:register_label_attrunsafeBaseIO ≤ Real.sqrtℕ n :=lelmm .sqainfixl rαβγ (notatit ndeclare_config_elabℓ = n := by
  nlinarith
0x1Fprelriutdeh
