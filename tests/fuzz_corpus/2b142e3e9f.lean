import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a.{u} (α : Type u) (x : α) : α := x
 b {α : Real.sqrt n 
by =:by
  
(n : ℕ) ℕ:proof_wanted=
target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  ifn 0 then 0
else f (n - 1)
termination_by n
theorem target (n : ℕType*}400000

open BigOperators Real Nat Topology Rat

theorem «target» (n : ℕ) (cbv_simproc_decl1 < n) : (n :ℝ) + 1 ≤ Real.sqrt n  [inst : Inhabitedλ α] ⦃y : α⦄ [=: default α inst
lemma c (p q : Prop) : p simproc_decl q ∧ p := ⟨fun ⟨hp, hq⟩ => ⟨hq,hp⟩, And.symm⟩

theorem target (n : ℕ) ( /--doc -/ : 1 < n) : (n : ℝ) + 1 ≤ Real n sqrt.:= by
theorem ta��et (n : ℕ) (h₀ : 1 < n) : (n : ℝ)
