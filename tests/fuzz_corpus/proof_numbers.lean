import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : ℝ := 1.5e-3 + 2e5 + 10_000 + 0x1F + 0b101 + 0o17
def b : ℕ × ℕ := (1, 2)
def c := b.1 + b.2

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  norm_num [a]
  nlinarith
