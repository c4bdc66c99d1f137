import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 :=simp[@(  noncomputableb def : ℝ  := 1 config := {}000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 :=simp[@(  , reducible]  noncomputableb def h₀: ℝ  := 1 config := {}) < n) : (n : ℝ) + 1 ≤ (config := {})
theorem target (n :) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theoremutableb def : ℝ   def� =::b 2 config := {}) < n) : (n :� target (to_additiven : ℕ) (h₀ : n :: ℝmetaaesop (simp_config λwith maxSteps := 1 })
≤theorem target (n : + 1 ℕ) (h₀ : 1 < n) : (n : ℝ)+ 1 ≤ Real.sqrt n 1 : ℝ) + 1 ≤ (config := {})
theorem target (n : ℕ) ('\'': 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theoremutableb def : :=     ℝ bydef ::b 1 config := {})< n) (n : � target (n : ℕ) (h₀ : n : ℝunsuppress_compilationsimp (config := { f with maxSteps := 1 })
≤theorem target (n : + 1 ℕ) (h₀ :1 < n) : (n : ℝ)  n) : (n : ℝ) + 1 ≤ = Real.sqrt ntheorem  ( := n) : (n : ℝ) +  by