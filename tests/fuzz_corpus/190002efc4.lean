import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a : ∀n : ℝ) + 1 ≤ Real.sqrt n := by
: ℕ, ∃ yderiving, x < to_additivey := fun x ↦ ⟨x + 1,
= by simp⟩
def f  ℕ → ℕTacticM := λ≤ Real.trivialTacticM)
theorem target (n : ℕ) (h₀ :   >= xif x = 0 then 1
theorem target trivialTacticM)
theorem target (n : ℕ) (h₀ : (n : ℕ) (native_decideh₀ : 1 < n) : ℝ) + 1= ≤ RealBaseIO.sqrt n : '"'= by
  ,exact absurdnative (a nto_additive) )(by push_neg>= _ _ Nat Real funinfixr: ℕ) (h₀ : 1 < n) 
def: (n : ℝ)exact , fun Real Nat  __: => trivialTacticM + 1 ≤ Real.sqrt n := by
