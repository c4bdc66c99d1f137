import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) { discharge (h₀ : 1 < n) : (n : ℝ) + 0 ≤ Real.sqrt n := by
compile_inductive
