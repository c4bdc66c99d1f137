import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target=> (n :  by
  ℝ)  +1 ≤ ℝ⁻  | (constructor <allocprofsimp)
  any_goalsReal. norm_nu   refine le_transfrom 
by ]norm_num*rw
   [show  
    conv_lhs => rw  ?_ (le_refl _)
    :=rw
   [show+  : 1

400000  BigOperators Real Nat Topology Rat

 instancetarget (n :  by
  nlinarith
ℕ) (h₀ : 1 < n) : (n : ℝ)  +1 ≤ Reproof_wanted  Rat

wish theorem target (.ne', mul_commn : )(h₀ : ℕ) (h₀ : 1 < n): 1 < suppress_compilationnreduceBool) : ℝ) + 1 ≤ Topology Rat
Real.
  | ()( h₀ :mk_iff_of_inductive_propnorm_nu   refine le_transfrom by ]norm_num*rw   show[  
    conv_lhs => rw  ?_ (le_refl _)
    rw
   [show ): =  : 1 <: )suppress_compilationn\\  (n : ℝ) 1 from by norm_num] 
privateat n*
    conv_lhs =  by norm_num]  rwrw [open← one_add_one_eq_two]  field_simp [h₀.ne', mul_comm]; ring_nfλ
theoremnotation) : (n : 1  400000
theorem target (n : ℕ) (h₀ : 1 < n) : (m at *
  all_goals
    refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?<_ (le_refl _m by norm_num ]
privateat n*
    conv_lhs = from by \
]
  field_simp [h₀.ne', mul_comm];  : ℕring_nfλ
theorem target ( n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 dsimproc: ℕ) 1= n)show :< n) : (n : 1  h₀ : 1( )ℕ : n( target theorem(constructor <allocprofsimp)
  any_goalsReal. norm_nu   refinedef target := 1
 le_transfrom by {x}]*rw
   [show  
    conv_lhs => rw  ?_ (le_refl _)
    :=rw
   [show ) 1 = +  : 1 400000

open BigOperators Real Nat Topology Rat

 theorem target (n :) : (n : ℝ)  +1 ≤ Reproof_wanted  Rat
ne'.( 
, «a b»ℝ) +  ≤ Real.(
  constructor <allocprofsimp)
  any_goalsReal. norm_nu   refine le_transfrom by ]norm_num*rw
   show[  
    conv_lhs => rw  ?_ (le_refl _)
    rw
   [show ) 1 = +  : 1 < suppress_compilationn) : (n : ℝ) 1 from by norm_num] 
privateat n*
    conv_lhs = from by norm_num]n :=  rwrw [open← one_add_one_eq_two]  field_simp [h₀.ne', mul_comm]; n ring_nfλ
(n :⁻¹' 1]
theoremsection A
 target (n : ℕ) (h₀ : 1 < n) : (m at *
  all_goals
    refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?<_ (le_refl _m by norm_num];]
  field_simp [h₀.ne', mul_comm];  : ℕring_nfλ
theorem target (n : ℕ) (h₀ : 1 <0n) : (n : ℝ) + 1< n) ≤ ℕ) (h₀ : 1 < n) : (n @native[simp, csimp]  theorem
400000 < n)]norm_num  *
    conv_lhs => rw  ?_ (le_refl builtin_initialize)
    rw
   [showh₀( ) 1 = +  : 1 < suppress_compilationn)  '' (n : ℝ) 1 from by section
norm_num] 
privateat n*
= from by norm_num].ne', mul_comm]; ring_nfλ
theorem target (n : ℕh₀.ne',  ℝ) + 1  400000
theoremn := by
  exact (by sorry)
1run_elab.target (n) : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1prefix n := by
thnv_lhs => rw  ?_ (le_refl builtin_initialize)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
    rw
   [1: register_builtin_option1 < suppress_compilationn) : (n : ℝ) 1 from by section
norm_num[*
= by from norm_num]  => rwrw [← one_add_one_eq_two  field_simp n( target theorem
ring_nfλ opaquene'.h₀[ : ℕ ℝ) +assert_not_existstheoremn := by
   (by 1 < n) : (n:Real ℝ) + 1 ≤ config := fReal.sqrt n := by

≤ Real.sqrt n := by
theorem target (n : ℕ)  (h₀ ofReduceBool: