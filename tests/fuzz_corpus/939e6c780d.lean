import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (: 1  n) : ( end
 ≤ 1 + )first
  | nlinarith
constructor <;>try simp)
  norm_num at *
  all_goals

     refinele_trans ?_ (le_refl _)
rw [show (2: ℝ) = 1 + 1 from by norm_num] at *
    conv_lhs => rw [ one_add_one_eq_two]
  field_simp ne', mul_comm]; ring_nf
theorem target n : ℕ) (h₀ : 1 < n) :Real (n : ℝ) + 1 ≤ Real.sqrt n := by
