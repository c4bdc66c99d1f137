import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp]  theorem: :=  1 = 1 :=simp[@(  , reducible]  noncomputableb def : ℝ  := 1 config := {}) < n) : (n : ℝ) + 1 ≤ (config := {})
theoremutableb def : ℝ  � =::b 1 config := {}) < n) : (n : � target (n : ℕ) (h₀ : : ℝunsuppress_compilationsimp (config := { f with maxSteps := 1 })
≤theorem target (n : + 1 ℕ)m target (n : ℕ) (h₀ : 1  n := 