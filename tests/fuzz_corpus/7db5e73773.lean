import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def {u} (α : Type u) (x : α) : α := x
 b {α : Type*}400000

open BigOperators Real Nat Rat

theorem «target» (n : ℕ) (: 1 < n) : (n :ℝ) + 1 ≤ Real.sqrt n  [inst : Inhabited α] ⦃y : α⦄ : α@ =: default α inst
lemma c (p q : ) : p ∧ q ↔ q ∧ p := ⟨fun ⟨hp, hq⟩ => ⟨hq,hp⟩, And.symm⟩

theorem target (n : ℕ) ( /-- doc -/  1 < n) : (n : ℝ) + 1 ≤ Real. n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
