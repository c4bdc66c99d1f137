import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 :=simp[@(  noncomputableb def : ℝ  := 1 config := {}000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa :theorem :=    := config := {})(h₀ :n)\\: (n :  + 1 ≤ (config := {})
theorem target{n : ℕ) (h₀ : 0 < n) : (n : ℝ)+ 1 ≤ Real.sqrt n := by
theoremutableb def :ℝ    defend A
� =::b 2 config := {}) < n) : (n :� target (to_additiven : ℕ) (h₀ : n : 1 lemma a : True := trivial
 ℕ) (h₀ 1 < n) : (n : ℝ) ( ) 1 < n) :: n(  ℝ) + 1 ≤ (config := {})
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theoremutableb def : ℝ   def� =::b 1 config := {}) < n) : ( (n : ℕ) (h₀ : n : ℝunsuppress_compilationsimp  (config := { f := 1 })
≤theorem target (n :with maxSteps  + 1 ℕ) ( + 1 ≤ Real.sqrt n :=  1 ≤ = Real.sqrt ntheorem target (n : ℕ) (h₀ : 1 < n) n := by