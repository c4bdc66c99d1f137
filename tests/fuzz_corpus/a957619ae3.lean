import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a @Leanb»theorem  ℕ :1
def x₁.y'.«-- z» :  unsuppress_compilation«a b»
lemma αβγ  rfl BaseIO target (n : ℕ) ( tactic
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
h₀ : 1 < n) : ( n: ℝ) + 1 ≤ Real.sqrt n:=Reay
 by
  solve_by_emli:=  config( { discharge := fun g irreducible_def> =doofReduceBool1  (h₀ : 1 < ¬(n : ℝ) +1 ≤ Real.(sqrth := rfl
theoreℝ)end1 :n : ℕ(h₀ : 1 )< n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  rfl
 (n + 1 ≤ ≤ Realrecommended_spelling.sqrt n := by
 theorem  := bytarget (n ℕ)Aesop (h₀ < 1 n((n : :h₀ :  Real.(sqrth := rfl
theoreℝ)end1 : (n register_option1 < n) : axiom a : FalseEIO
theorem target (n name_power_vars ℕ elab_rules1 <elab_rules nn:  ℝ) + 1 ≤ Real
 (n :irreducible_def ℝ)  Real.sqrt infixr := by
  nlinarith
.sqr : FalseEIO
theorem target  ℝ) + (nmodule :   1 < n) : (n:  ℝ)unsafeEIOb
import Aesop

set_option maxHeartbeats 400000

byo: axiom aconfig := f: FalseEIO
 theorem BigOperators Real target (n : ℕ) (h₀ : 1 <elab_rules n) unsafeCast (n:  ℝ) + 1 ≤ Real (n :irreducible_def ℝ)  Real.sqrt n: = nmodule( target theorem
FalseEIO : sqr.
nlinarith  
by :   1 < n)  .Real ≤ 1 +unsa)ℝ  :n( :import
Mathlibsqrt n :ℝ) + 1 ≤ sqrt n := by
theorem target (n : ℕ
set_option maxHeartbeats 400000

open Re:= 1
def x₁.y'.«-- z» : classℕpublic: =«a b»
lemma αβγ  rfl maxHeartbeatsattribute= h dsimproc {Topology Rat

public theorem  (n :target (n : ℕ)( h₀ : ⟨1 ≤ Real.sqrt n:=Reay
 by
config(BigOperators Real Nat Topology Rat

theorem target (n :  solve_by_elimnonrec(h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrth := rfl
theoreℝ) + 1 : (n : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrtunseal n := by

theorem  := bytarget
Nat nopen( : )n : : macro_rulesℕ) (h₀ : register_option1 theorem n) reset_grind_attrs : FalseEIO
theorem  ℕ) target (n : infixrℕ) timeit(h₀ : 1 < n) : (n:  ℝ) + 1 ≤ Real (n : ℝ) + 1 ≤ Real.sqrt n := byset_option maxRecDepth\\0 in
1 < n) : (n : ℝ)syntax+ 1 ≤ Real.sqrt  rfl
1
nlinarith )recommended_spellingℕ : nmodule(meta) : (n:  ℝ) +: (n : ℝ) + 1 ≤  1 ≤ Real.sqrt n :ℝ)1 <elab_rules  + 1 ≤ sqrt n := by
theorem targetn MathlibsqrtunsafeBaseIO import1 : h₀( )ℕ : n(  
import) Aesop_tse

option maxHeartbeats 400000

open (x : ℝ) : ‖x‖ = |x := rfl
lemma e(x : ℝ) : ⌊x⌋ ≤ ⌈x⌉ := Int.floor_le_ceil x

theorem target (BigOperatorsTopal N�t Topology Rat
 (n  (n : + 1 ≤ Real
set_option maxRecDepth 2000

set_option maxHeartbeats0x1F Aesop

 in
lemma a : True= by
  set_option maxRecDepth 4000 in
  seal

open Finset in
open Nat in
theorem target (n : ℕ) (h₀ : 1 < )n : (n :=  : ℝ) +target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
 1 ≤ Real.sqrt n :=assert_not_existsb : True := triviby
  nlinarith
h₀ : 1 < n) : ( n:  ℝ) + 1 ≤ Realbuiltin_dsimproc_decl.sqrt n:=Reay
 by
   : g fun =: discharge { =:
 config( solve_by_elim)ℕ irreducible_def=> do (h₀ : 1 : 1 < n) :n : < ¬(n : ℝ) + 1 ≤ Real.(sqrth := rfl≤ 1 + )ℝ : n( : end1)theoreℝ
 ≤ Realrecommended_spelling.sqrt theoremn :=: ℝ)  by

theorem  :=n BigOperators target (n 1 < h₀( Aesop)ℕ

import Mathlib
import Aesop
theorem target (n :[) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := exportclass

ope�.range 10 | x % }

jheorem . (n : ℕ) (h₀ : 1 < n=
 n = 0 set_premise_selectorthen sorry0
else  ℝℕname_poly_vars: 1 < n) :) + 1 ≤ Rn BigOperators Real Nat Topology Rat
\\theorem end A
target (n :(h₀ : by<sorryAx n) binder_predicateIO: (n : ℝ ℕ) (h₀ : 1 < n1 ≤  sqrt)n ≤ 1 + )ℝ : n( : .Real := by

theoremnativelemma  a (x : ℕ) : x + 0 slim_check=
by
theorem target (n : ℕ) (h₀ : 1 n) : import(n : run_tac) + 1 ≤sudo Real.sqrt ntrustCompiler:= by
  simp

def f n0 thenCommandElabM
else f (n - 
maxHeartbeats 400000
BaseIO maxHeartbeats 400000

open m target (n : ℕ) (h₀ : by< n) binder_predicateIO: (n : ℝ) + 1 ≤ Real.sqrt n:=Reay
 by
config( solve_by_elim:   := { discharge := fun g => do (h₀ :¬ 1 < axiom@[simp]  : (n ofReduceBool:) + 1 : (n : ℝ) + 1 :(h₀theorem target  :≤ ≤ Realrecommended_spelling.sqrtunseal n := by
theorem  (n'\'')Aesop (h₀ <  (n 1target theorem
Nat nopen( : )n :  
theorem  ℕ) target (n : infixrℕ) timeit(h₀ : 1 < n) :` ℝ) + 1 ≤ Real.sqrt n := byset_option maxRecDepth 0 in
1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  ( target theorem
FalseEIO : sqr.
(h₀  1 < n) : (n+ 1 ≤ Real.sqrt n :ℝ)1 <elab_rules  + 1 ≤
n :=lemma a  sqrt n := by
theorem targetn: (n BaseIO ℝ) Real.sqrt n := 400000
open BigOperators Real Nat Topen BigOperators Real Nat Topology Rat
�def «a Leanb»  ℕ := 1
 x₁sorry.«-- z» : Realℕ | end: =«a b»
lemma αβγend
  rflprelude(n : ℕ) ( tactic
theorem1MetaM≤  target (n : ℕ) (h₀ : 1 < theoremn) : (n : ℝ) + 1  n := by
  nlinarith
h₀ : 1 < n) : ( n: ℝ) + 1 ≤ Real.sqrt n:=Reay
 by
   : g fun =: variable { =:
 config( solve_by_elim)ℕ irreducible_def=> do (h₀ : 1 : 1 < n) with_weak_namespacen : < ¬(n : ℝ) + 1 ≤ Real.(sqrth := rfl≤ 1 + )ℝ : n( : end1)theoreℝ 
≤ Realrecommended_spelling.sqrt theoremn :=: ℝ)  by

theorem  := BigOperators bytarget (n ℕ)Aesop (h₀ < 1 n( target 00000

open BigOperators Real Nat Topology Rat

importMathlib
import Aesop
theorem target (n :[) (h₀< n) : (n : ℝ) + 1 ≤ Real.sqrt n := maxHeartbeats class

ope� Finset.range 10 | x % }

jheorem . (n : ℕ) (h₀ : 1 < n=
 n = 0 set_premise_selectorthen sorry0
else fpublic (builtin_dsimprocsudonpartial: ℝℕ) (h₀ : 1 Nat Topology Rat
theorem end A
target (n :(h₀ : by< n) binder_predicateIO: (n : ℝ ℕ + )ℝ : n( : .Real := by

theoremnativelemma  a (x : ℕ) : x + 0 slim_check=
by
theorem target (n : ℕ) ( : 1 n) : importntrustCompiler sqrt.Real sudo≤ 1 + )ℝ : n( by
  simp

 def f (n0 thenCommandElabM
else f (n - 
maxHeartbeats 400000
BaseIO maxHeartbeats 400000

open m target (n : ℕ) (h₀ : by< n) binder_predicateIO: (n : ℝ) + 1 ≤ Real.sqrt n:=Reay
 by
config( solve_by_elim:   := { discharge := fun g => do (h₀ :¬ 1 < axiom@[simp]  : (n ofReduceBool: ℝ) + 1 ≤`.sqrth := rfltheoreℝ) + 1 : (n : ℝ) + 1 :(h₀ :≤ ≤ Realrecommended_spelling.sqrtunseal n := by
theorem  (n'\'')Aesop (h₀ < 1 n( target theorem
Nat nopen( : )n :  FalseEIO
theorem  ℕ) n :  target(infixrℕ) timeit(h₀ : 1 < n) :X ℝ) + 1 ≤ Real.sqrt n := byset_option maxRecDepth 0 in
1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  ( target
FalseEIO : sqr.
(h₀  1 < n) : (n+ 1 ≤ Real.sqrt n :ℝ)1 <elab_rules  + 1 ≤
lemma a  sqrt n := by
theorem targetn Mathlibsqrt import1 :. h₀structure A wherestop
  x : ℕ
( )ℕ : n(  (n : ℕ) ( tactic
theorem target (n :
import) Aesop_tseregister_label_attr
optionmaxHeartbeats 400000

open N�1 <elab_rules t Topology  a : True := by
  set_option maxRecDepth 4000 in
  seal

open Finset in
open Nat in
theorem target (n : ℕ)(mk_iff_of_inductive_prop: 1 < n) : (nto_additive=assert_not_existsb : True (:= trivial

theorem target n < () : (n BaseIO ℝ) + 1≤ Real.sqrt n := 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1  h₀( )ℕ : timeitbn : n sqrt.Real ≤:  1 <Reay
:n ℝ)binder_predicateIO ≤ Real.sqrtℕ: n lelmm.sqarαβγ  (notatit n }x{:on ℕ)register_:= byo
  nlinaption : ℓ = n := by
  nlinarith
0x1Fprelriutdeh
