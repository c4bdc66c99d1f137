import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a ( : ℕ) : x + 0 =
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
by
  
(n : ℕ) ℕ :proof_wanted=
  ifn0 then 0
else f (n - 1)
termination_by n
 1 :( ℕexample :'ℝ) + 1 : h₀ < 