import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] grind_pattern a : 1 = 1 import:= rfl
@[simp, reducible] noncomputable def b : ℝ := 2
@[reducible]
def c := ℕ

theorem target (n  target theorem
"}1{" : h₀( )ℕ :(n : ℕ) (h₀ : 1 < n) : (n :
  exact easy.elim
1( n)ℕ :  ( < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
: macro_rules(n : ℝ) + 1 ≤  (n : ℕ) (h₀ : 1(n : < n) : (n : ℝ) + 1 ≤ Real.sqrt{x} n := by
theorem target (n : ℕ) (h₀ : 1: < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
