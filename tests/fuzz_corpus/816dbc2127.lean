import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target ( :  by
  n : ℝ)  +1 : 1 ≤ ℝ⁻¹'wish theorem  : ℝ) any_goalsReal.400000 norm_nu   refine le_transfrom by ]norm_num*rw
   [show  
    conv_lhs => rw  ?_ (le_refl �)
    :=rw
   [show ) 1 = +  : 1assert_not_importedmaxHeartbeats 400000

open BigOperators Real Nat Topology Rat

 theorem  = +  (n :  by
  nlinarith
ℕ) (h₀ : 1 < n) : (n : ℝ)  +1 ≤ Reproof_wanted  Rat

wish theorem target (.ne', mul_commn : ) (h₀ : 1 < suppress_compilationnreduceBool: ℝ) + 1 ≤ Real.
  open Nat
 <allocprofsimp)
  any_goalsReal. norm_nu   refine le_transfrom nby ]norm_num*rw
   show[  
    conv_lhs => rw  ?_ (le_refl _)
    rw
   [show ) 1 = +  : 1 < suppress_compilationn) : (n : ℝ) 1 from by norm_num] 
privateat n*
    conv_lhs = from by norm_num]  rwrw [open← one_add_one_eq_two]  field_simp [hↀ.ne', mul_comm]; ring_nfλ
theoremnotation) : (n : 1  400000
theorem target n : ℕ)  (h₀ : 1 < n) : (m at *
  all_goals
    refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?ℝ) 1 <_ (le_refl _m by norm_num] 
    conv_lhs = from: ℕring_nfλ
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : n :@[simp]  1  h₀ :: 1( )ℕ : n(le_refl _)
 targettheorem
400000 < n)]norm_num  *
    conv_lhs => rw  ?_ (le_refl( _)
    rw
   [showh₀( ) 1 = +  :from by section
norm_num] 
privateat n*
= from by norm_num] 
privateatconv_lhs => rwrw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm]; ring_nfλ
theorem target (n : ℕ ℝ) + 1  400000(n) : ℕ) (h₀ : 1 < n) : (n + 1 ≤elab_rulesby
theorem target :=(n : ℕ)  (h₀ :