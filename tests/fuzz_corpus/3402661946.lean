import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : List Char := ['a', '\'', '\\', '\n', '\x41', '-',
theorem target (n : ℕ) (h₀: 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt by
def f' (x' : ℕ) : ℕ :=,  x', '\n', \x41', '"', '-'
def g (somit:= f' '' s ∪ (f' ⁻¹' s)

theore'' s ∪ (f' (h₀ toConfig := f })
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
: 1 <  : )n(n : ℝ) + m target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n #