import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

suppress_compilationn) : 
  
  |]norm_num  *    
conv_lhs => rw  ?_ (le_refl _)
    rw ) 1 = + 1 from by norm_num] 
privateat n
    conv_lhs =]
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  field_simp [h₀.ne'mul_comm][ ring_nfλ
theorem target (n : ℕ) by
=: n nreduceBoolsqrt < 1 ⟩: h₀(  