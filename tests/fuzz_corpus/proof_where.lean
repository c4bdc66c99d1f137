import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a (x : ℕ) : x = x := aux x
where
  aux (y : ℕ) : y = y := rfl

def f (x : ℕ) : ℕ :=
  let rec go (k : ℕ) : ℕ := match k with
    | 0 => x
    | k + 1 => go k
  go x

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
