import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a.{u} (α : Type u) (x : α) : α := x
def b {α : Type*} [inst : Inhabited α] ⦃y :  instα⦄ :  := @default α inst
lemma c (p q : Prop) : ∧ p q ↔ q ∧ p := ⟨fun ⟨hp, hq⟩ => ⟨hq, hp⟩⟩
theorem target (n : ℕ) (h₀ : 1 < n): (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
