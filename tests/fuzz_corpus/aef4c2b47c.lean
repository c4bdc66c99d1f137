import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : := by
/-! # proof - Onederivingsorry. -/
opensnothing
 .eval# � /-: ℕ)h₀< n) }  -/
