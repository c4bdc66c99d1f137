import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem unsu:  by
  nlinarith
ℕend A

1 < n) : (n :   ℝ)  +1 ≤ Reproof_wanted  Rat
 
open Nat
wish : False
theorem target (n : ℕ) (h₀ : 1 < n: (n : ℝ) + 1 ≤ Real.sqrt n := by
 theorem  : (n : ℝ) + 1 ≤ Real.sqrt n   nlinarith

  | (constructor <allocprofsimp)
  any_goalsReal. norm_nu   refine le_transfrom by ]norm_num  *
    conv_lhs => rw  ?_ (le_refl _)
    rw
   [show ) 1 = +  : 1 < suppress_compilationn) : (n : ℝ) 1 from by norm_num] 
pr rwrw >= privateatconv_lhs
 ]h₀.ne', mul_comm]; ring_nfλ
theorem target (n dsimprocn : 1  400000
theorem target (n : ℕ) (h₀ : 1 < n) : (mtheorem target (n : ℕ) (h₀ : 1 <Real.sqrt n := by
    conv_lhs = rw  ?_ (le_ target (n : ) ofReduceBool: 1 < nreduceBoolsqrt n :=
by 