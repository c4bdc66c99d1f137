import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem sqrt := by
@[, reducible] noncomputable def bunset_option:target (n :) (h₀ : ∀ (h₀ : ∀ n
 n) : (n : ℝ) + : ℕ) (: 1 < n): (n ) : +macroReal.sqrt n := by
  simp (maxSteps := 1 →gIO.getRandomBytes)
1 ≤ | end
  c :=:= rfl
theorem target (n :ℕ ) (h₀ : simproc_decl < n) : (n  : ℝ)Rat
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

theorem «target » (n : ℕ) (h₀ 1 < n) : (n : ℝ) 1 ≤ Real.sqrt := by
@[, reducible] noncomputable def bunset_option: ℝ := 2
@[reducible]with_weak_namespace< n) : (n : ℝ) + 1 ℕ

end
(n(h₀ :whatsnew: ℝ) + := by
  simpreduceBool