import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b» : ℕ := 1
def x₁.y'.«-- z» : ℕ := «a b»
lemma αβγ (ℓ : ℕ) : ℓ = ℓ := rfl
theorem h₀ (h : True) : h = h := rfl

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  have := x₁.y'.«-- z»
  nlinarith [h₀ trivial]
