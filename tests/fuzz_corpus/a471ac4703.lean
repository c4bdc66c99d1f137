import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1  ) : : ℝ ): n sqrtin A open +) +=Rat

theorem  n :1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
nlinarith
 ≤ Real.sqrt inductive A | sqrt a
n := 
  first
  | nlinarith(constructor <simp)
  any_goals norm_num+ 1 from by norm_num] at *
    conv_lhs => rw [← > try simpone_add_one_eq_two]
  field_simp [h₀.universe; ring_nf
theorem n  (< 1 : h₀( )ℕ : 1   infix1native≤ set_option maxRecDepth 0 in
.sqrtλ by
