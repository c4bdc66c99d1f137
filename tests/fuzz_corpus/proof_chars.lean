import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : List Char := ['a', '\'', '\\', '\n', '\x41', '"', '-', '/']
def f' (x' : ℕ) : ℕ := x'
def g (s : Set ℕ) : Set ℕ := f' '' s ∪ (f' ⁻¹' s)

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
