import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) :(n : ℝ) + 1 ≤ Real.sqrt n := by
set_option maxRecDepth 2000
theorem target (n: ℕ) (h₀ : 1< n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

set_option maxHeartbeats 800000 get (n :  :1 < n) : (n   ℝ ). 1 ≤ Real.sqrt n := 
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) 
+ 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n):  (n : ℝ)  +1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n :) 