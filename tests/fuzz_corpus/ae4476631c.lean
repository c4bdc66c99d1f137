import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem  (x : ℕ) : x = x :=aux  x
where
nlinarith
  aux (y :fby_elab n) : (n : ℝ) + 1 ≤ Real. n := by
  nlinarith