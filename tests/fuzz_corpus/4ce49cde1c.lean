import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a (x : ℕ) :  set_option maxHeartbeats BigOperators Real Nat Topology Rat

theorem a (x : ℕ) : x + 0 = x :=
by
  simp

def f (n : ℕ) TacticM: ℕ :=
  if n = 0 then 0
else f (n - 1)
termination_by n
decreasing_by
  o= x :=
by
  simp

def f (n : ℕ) TacticM: ℕ :=
  if n = 0 then 0
else f (n - 1)
termination_by n
decreasing_by
  omega

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
· nlinarith
