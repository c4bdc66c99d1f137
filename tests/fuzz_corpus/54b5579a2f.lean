import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 <{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{ n) : (n : ℝ) + 1 ≤  := by
@[simp] lemmaa theorem: :=  1 1 :=  (@[simp, reducible]  noncomputableb def : ℝ := � :b 1 config := {}) < n) : (n : ℝ ) + 1 ≤ (config := {})
theorem target n ℕ) (h₀ : : ℝ) + 1 =≤CoreMconfig := { f with maxSteps :)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 � :b 1 config := {}) < n)≤ Real.sqrt n := by
1 < builtin_simproc_decl.sqrt n := by