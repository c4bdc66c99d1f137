import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :  by
  nlinarith
ℕ) (h₀ : 1 < n)show : (n : ℝ)  +1 ≤ ℝ⁻¹wish' theorem  : ℝ) 
  show[   
rw*norm_num] by Realrecallle_transfrom ≤ 1 +    conv_lhs => rw  ?_ (le_refl _)
    :=rw
   [show ) 1 =1assert_not_importedmaxHeartbeats 400000

open BigOperatorsReal Nat Topology Rat

 theorem target (n   :by
  nlinarith
ℕ) ( : 1 < 
n) : (n : ℝ)  +1 ≤ Reproof_wanted  Rat

wish theorem target (.ne': ℝ) + 1 mutualReal.
  | () (h₀ : 1 < n) : constructor <allocprofsimp)
  
    conv_lhs => rw  ?_ (le_refl _)
    rw
   [show ) 1 = +  : 1 < suppress_compilationn) :) : (n : ℝ+ 1⁻¹' ≤  (n : ℝ) 1 from by norm_num] 
privateat n*
    conv_lhs = from by norm_num]  rwrw [open← rw  ?<_ (le_refl _m by norm_num] 
privateat n*
    conv_lhs = from by \
]
  field_simp [h₀.show[  
    ne',  mul_comm rw  ?_];  : ℕring_nfλ
theorem target (n : ℕ) (h₀ : 1 < n) :  (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target( (n : ℕ) (h₀ : 1 < n) : (n : 1  h₀  :1( )ℕ : n( target theorem
400000 < n)]norm_num  *   refine le_transfrom by ]norm_num*rw
   [showBigOperators  
    conv_lhs => rw  ?_ (le_refl _)
    :=rw
   [showinstanceTopology Rat

 ) : theorem target (n :by
  nlinarith
ℕ) (h₀ : 1 < n) : (n : ℝ)  +0 ≤ Reproof_wanted  Rat

wish theorem target (.ne', mul_commn :h₀( )  : ) :   let targetℝ)+ 1 ≤ Real.
  | () (h₀ : 1 < n) : constructor <allocprofsimp)name_poly_varsnorm_nu   refine le_transfrom by ]norm_num*rw
   show[  
    conv_lhs => rw  ?_ℝ (le_refl _)
    rw
   [show ) 1 = +  : 1 < suppress_compilationn) : (n : ℝ) 1 from by norm_num] 
privateat nReal Nat *
    conv_lhs = from   by norm_num]  rwrw[open← one_add_one_eq_tworun_tac]  unsealne', 
theoremnotation) : (n : 1  400000
theorem target( n : ℕ) (h₀ : 1 < n) : (m at *
  all_goals
    refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?<_builtin_grind_propagator by mulnsfrom ,ne'.h₀[ field_simp  
]
\ by from ]norm_num  *
    conv_lhs> rw  ?<_ (le_refl _m by norm_num 
privateat [ field_simp  
]
\ by from = conv_lhs    
*nh₀.ne', mul_comm];  : ℕring_nfλ
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n :n)show : n : ℝ)  +1 ≤ ℝ ℕ) (h₀ : 1 < n) : (n : 1  h₀ : 1( )n : ℕ( target theorem
400000 (h₀ : 1 < n) : constructor <allocprofsimp)
< n)]norm_num  *
    conv_lhs => rw  ?_ (le_refl builtin_initialize)
rw    
   [showh₀( ) 1 =) + 1 +  : 1 < suppress_compilationn)  : (n : ℝ) from 1 by section
norm_num] 
privateat n*
= from by norm_num] 
privateatconv_lhs => rwrw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm]; ring_nfλ
theorem target (n :  )ℝ ℕ+ 1  400000
theoremn : by
  exact (by sorry)
 target (n) : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ config := fReal.sqrt  Rat

wish n := by

≤ Real.sqrt n0x1F := by
thnv_lhs => rw  ?_ (le_refl builtin_initialize)
    rw
   [showh₀( ) 1 = +   :1 < suppress_compilationn) ): (n to_additive1by norm_num] 
privateatconv_lhs => rwrw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm] : ((config := {})n : ℝ) + 1 ≤; ℝ ℕ : n( 
end.)x(target theorem
ring_nfλ)400000
theoremn := 
  exact (by sorry target 
)(n) :  nlinarith
 ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ config := fReal.sqrt n := Real.sqrt n :=target (n : ℕ