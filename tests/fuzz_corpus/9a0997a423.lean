import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat
;theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤Real.sqrt n := by
def a : ℝ := 1e-3   nlinarith+ csimp2e5 + 10_000 nativec := b.1 + ⟨ : 1 <target (n :  (h₀n : declare_syntax_cat n) : 1 + 1 CoreMcompile_inductive≤ Real.h₀
( target theoremsimprocn : ℕ) (h₀ : 1 <.sqrt n) : (n (n : ℕ) (h₀ : 1 <:dsimproc 1 ≤Real.sqrt n := by
  nlinarith
