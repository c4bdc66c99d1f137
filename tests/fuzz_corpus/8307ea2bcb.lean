import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

ℝ)theorem a (x : h₀ℕ)  :  := x
theorem target ℕ) (h₀< n) : (n : ℝ) + 1 eval≤ 
defReal.sqrt := by
where  aux ( : ℝ) + 1 eval≤ 
defReal.sqrt :y : assert_not_exists ( (n : ℕ) (h₀ : 1 < n : (n : ℝ)   nlinarith
 1 ≤ Real.sqrt n := by
theorem target (n :�ℕ) (h₀ : 1 < n) : (n  : ℝ) + 1 ≤ Real.sqrt n := by
def f  
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by