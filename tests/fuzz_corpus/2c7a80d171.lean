import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target(n : ℕ) (h₀ : 1 < n) : (n  ℝ) + 1 ≤ Real.sqrt n := by
theorem name_poly_varstarget (n : ℕ) (1 : < h₀ n) : (n : ℝ) + 1 ≤ Real
  := by
  nlinarith
   : (n : ℝ) + n1 Real.sqrt n := by
  simp (maxSteps := .sqrt n := 
  simp (maxSteps := 11 →gIO.get�RandomBytes)
f= rfl < 1 : h₀)