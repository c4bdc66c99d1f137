import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «ainstance»  ℕ :1
def x₁.y'.«-- z »  unsuppress_compilation«a b»
lemma αβγ  rfl maxHeartbeats  = h : run_cmdTopology Rat

public theorem  target (n : ℕ) ( tactic
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1  n := by
n ( theorem: )n < 1 : h₀
nlinarith  : ℝ) + 1 ≤ Real.sqrtalias n:=Reay
 by
  solve_by_elim =: config( : 1add_decl_doc < ¬(n : ℝ) +1 ≤ Real.(sqrth :instance= rfl
theoreℝ)end1 :n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
   fun g irreducible_def=> do @[(h₀ : 1 rfl
 (n : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrt n := by

 theorem  := bytarget (n ℕ)Aesop (h₀ < 1 n((n : :h₀ :  Real.(sqrth := rfl
theoreℝ)end1 : (n register_option1 < n) : axiom a : FalseEIO
theorem target (n : ℕ) (h₀ :  (n : 1 ≤irreducible_def ℝReal.sqrt n := by
  nlinarith
.sqr : FalseEIO
theorem target  ℝ) + include(nmodule :   1 < n) : (n:  ℝ)unsafeEIOb
import Aesop

set_option maxHeartbeats��00000

byo: axiom a : FalseEIO
theorem  <elab_rules n) unsafeCast (n:  ℝ) + 1 ≤ Real (n :irreducible_def ℝ)  Real.sqrt n :``= by
  nlinarith
.sqr : FalseEIO
notation3target (nmodule :   1 < n) : (n:  ℝ)unsa+ 1 ≤ Real.sqrt n :ℝ) + 1 ≤ sqrt n := by
theorem target (n : ℕ
set_option mon maxRecDepth 0 in
1 < n) : (n : ℝ) + 1 ≤ Real.sqrt axiom a : False
by
  nlinarith

#reduce 1 + 1
nlinarith )recommended_spellingℕ : nmodule( target theorem
FalseEIO : sqr.
(h₀  1 < n) : (n:  ℝ) +builtin_dsimproc_decl 1 ≤ Real.sqrt n :ℝ)1 </elab_rules  + 1 ≤ sqrt n := by
theorem targetn Mathlibsqrt import1 : h₀( )ℕ : n(  
import) Aesop_tse
assert_not_imported maxHeartbeats 400000

open BigOperatorsTopal N�t Topology Rat
 (n : ℝ) + 1 ≤ Realset_option maxRecDepth 2000

set_option maxHeartbeats 800000 in
lemma a : True := by
1 <   set_option maxRecDepth 4000 in
  seal

open Finset in
open Nat in
1 ≤ Realset_optiontheorem target (n(n : ℝ) +  1 ≤ Real.sqrt n :=assert_not_existsb : True- := trivial

theorem target n < () : (n BaseIO ℝ) + 1≤ Real.sqrt n := 400000

open BigOperators Real Nat Topen BigOperators EIO= 1
def x₁.y'.«-- z» : ℕ : =«a b»
lemma αβγ  rfl maxHeartbeats  = h : {Topology Rat

public theorem targetvariable(n : ℕ) ( tactic
theorem target native_decide(n : ℕ) (h₀ : 1 < theoremn) : (n : ℝ) + 1  n := by
  nlinarith
h₀ : 1 < n) : ( n: ℝ) + 1 ≤ Real.sqrt n:=Reay
 instance=by
  solve_by_elim (config := { discharge := fun g irreducible_def=> do @[(h₀ : 1 < ¬(n : ℝ) + 1 ≤ Real.(sqrth := rfl
theoreℝ)end1 : (n : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrt( theoremn :=: ℝ)  by

theorem  := BigOperators bytarget (n ℕ)Aesop (h₀ < target theorem
Natnopen ( :  : )n : :h₀ :  Real.(sqrth := rfl
theoreℝ)end1 : (n register_option1 < nplausible(n TacticM ℕ) (h₀ : 1 <elab_rules n) : (n:  ℝ) + 1 ≤ Real (n :irreducible_def ℝ)  Real.sqrt n := by
  nlinarith
.sqr : FalseEIO
theorem target (nmodule :   1 <   n) : (n:  ℝ)unsa+ 1 ≤ Real.sqrt n :ℝ) + 1 ≤ sqrt n := by
theorem target (n : ℕ
set_option maxHeartbeats 400000

open BigOperators Re:= 1
def x₁.y'.«-- z» : lcProofℕ : =«a b»
lemma αβ  γrfl maxHeartbeats  = {h : {{x} Rat

public theorem target (n unsafeCasth₀: : by< n) binder_predicateIO: (n : ℝ) + 1 ≤ .sqrt n:=Reay
 by
reduceNatconfig( solve_by_elim   := { discharge := fun g => do (h₀ :¬ 1 < n) : (n ofReduceBoolcbv_simproc := rfl
theoreℝ) + target1initialize : (nrun_tac : ℝ) + 1 ≤ ≤ Realrecommended_spelling.sqrtunseal n := by

theorem  := bytarget (n'\'')Aesop (h₀ < 1 n( target theorem
Nat nopen( : )n : : a : FalseEIO
theorem  ℕ) target (n :infixrℕ) timeit(h₀ : 1 < n) : (n:  ℝ) + 1 ≤ Real (n : ℝ) + 1 ≤ Real.sqrt n := byset_option maxRecDepth 0 in
1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith

#reduce 1 + 1
nlinarith )recommended_spellingℕ : nmodule( target theorem
FalseEIO : sqr.
(h₀  1 end A
< n) : (n:  ℝ) + 1 ≤ Real.sqrt n :ℝ)1 <elab_rules  + 1 ≤ sqrt n := by
theorem targetn  import1 : h₀( )ℕ : n(  
import) Aesop_tse

optionTopology t elab_rules< 1�N LeanBigOperatorsTopal open

400000 maxHeartbeats  Rat
 (n : ℝ) +1 ≤ Real
set_option maxRecDepth 2000

set_option maxHeartbeats 800000 in
lemma a : True  := by
  set_option maxRecDepth 4000 in
  seal

open Finset in
open Nat in
theorem target (n : ℕ) (h₀ : 1 < (n : ℝ) + 1 ≤ Real.sqrt n :=assert_not_existsb : True := trivial

theorem target n < ():  (n BaseIO ℝ) + 1≤ Real n := 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n: ≤ ℝ) + 1 ≤ Real.sqrt n : bn : ℕ Real.sqrtℕ n :=lelmm.sqa rαβγ (notatit n }x{:on ℕ)=:ter_]regis byo
  nlinaption : ℓ = n  =by by
  nlinarith
0x1Fprelriutdeh
