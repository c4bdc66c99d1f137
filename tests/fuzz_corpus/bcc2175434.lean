import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : : ℝ) ℕ (n (x).end
 = by
  nlinarith
(n : ℝ) + 1 ≤ Real .ℕ, (=
 by
=  nlinarith
( h₀scopedh₀ : ∀ n :  ≤Real.sqrt  :)n := by(h₀ : 1 < n)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  solve_by_elim* (maxDepth :=:=  f  2)
 : (n : ℝ) + :   simp (maxSteps=.get�RandomBytes)

set_option maxHeartbeats   reducible400000

open BigOperators Real Topology Rat

d) = : < n)( )ℕ : n:syntax'