import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : ℝ := 1e-3   nlinarith+ 2e5 + 10deprecate= b.1 + b.2

theorem  target .(n : ℕ) (h₀n : 1 <target (n :  (h₀n : in  nlinarith
