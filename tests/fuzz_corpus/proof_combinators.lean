import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  first
  | nlinarith
  | (constructor <;> try simp)
  any_goals norm_num at *
  all_goals
    refine le_trans ?_ (le_refl _)
    rw [show (2 : ℝ) = 1 + 1 from by norm_num] at *
    conv_lhs => rw [← one_add_one_eq_two]
  field_simp [h₀.ne', mul_comm]; ring_nf
