import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n :h₀ : 1 < n) : (n : ℝ)Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n :by= by
  linarith (config  + 1 ≤ Real.sqrt n := by
theorem targetelab (n : ℕ) (h₀ : 1 < n) : (n :+ ℝ) + 1 Real.sqrtsorry= by
h₀targettheorem target = x
end  n
) : (n : ( n ≤  + sqrt.Real (n : ℕ)fun of_lt  nMetaM'a'(n : ℕ)fun of_lt by
  solve_by_elim (discharge(discharge ::.sqrt nMetaM'a'()fun of_lt solve_by_elim (discharge := fun run_cmd[  n := ]
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
:by : deprecate