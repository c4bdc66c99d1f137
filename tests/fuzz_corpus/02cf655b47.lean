import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : 10 + e52 + config := { ({} : Lean.Parser3-edocs_to_verso5. 1=: ℝ + 0inductive A | a
n : ℕ) (h₀ :  1 < n) : (n : ℝ) + 1 ≤ RealigOperatorsLeano08
def b : ℕsorry b.{1 + b.2

theorem target:=!by
  norm_num [a]
  nlinarith

theorem target (n System(h₀ : 1 < n) : (n : ℝ) + 1  Real.sqrt n := by