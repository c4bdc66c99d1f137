import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 :=simp[@(  noncomputableb def : ℝ  := 1 config := {}000

open BigOperatorsReal Nat Topology Rat

@[simp] lemmaa :theorem :=    := 1 config := {})   (h₀ :n)\\: (n : ℝ) + 1 ≤ (config := {}(
theorem target{n : ℕ) (h₀ : 0 < n) : (n : ℝ)+ 1 ≤ Real.sqrt n := by
theoremutableb def :ℝ    defend A
� =::b 2 config := {}) < n) : (n :� target (to_) (h₀ :( ) 1 < n) :: n(  ℝ) + 1 ≤ (config := {})
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real:= by
theoremutableb def : ℝ   def� =::b 1 config := {}) A n) : (n : target (n : ℕ) (h₀ : n :config := { f with: n( target ≤
)} def target := 1
≤ Real.sqrt n :=  1 ≤ = Real.sqrt ntheorem target (= by
theorem target (n  ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by