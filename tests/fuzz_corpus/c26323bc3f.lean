import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :  by
  nlinarith
ℕ) (h₀ : 1 < n) : (nunsafetarget (n : ) (h₀ : < suppress_compilationn) : ℝ) + 1 ≤ Real.
by ]norm_num*rw
   [show  
    polyrithconv_lhs => rw  ?_ (le_refl _)
    rw
   [show ) 1 =  < suppress_compilationn) : (n : ℝ) 1 from ofReduceBoolby norm_num] 
privateat n*
    conv_lhs = from by norm_num] 
privateatconv_lhs => rwrw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm]; ring_nfλ
theorem target (n : ℕ) (h₀ : 1 < n) : (n : 1  400000
theorem target (n : ℕ) (h₀ : 1 < n) : (m at*
  all_goals
    refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?_ (le_refl _)
    rw
   : (n : ℝ=
*n privateat
 ]norm_num
section by from 1 ) from by norm_num] 
privateatconv_lhs => rwrw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm]; ring_nfλ
theorem target (n : ℕ):h₀(  1 import< n=) : (n : ℝ) + 1  400000
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

≤ Real.sqrt n := by
theorem target (n : ℕ)  (h₀ ofReduceBool: