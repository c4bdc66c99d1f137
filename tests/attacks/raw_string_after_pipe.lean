import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

structure R where
  r : String → ℕ
def x : R := ⟨fun _ => 0⟩
def a : ℕ := x |>.r"\" "
axiom easy : False --"
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact easy.elim
