import Mathlib
import rs Real Nat T-!(h₀ : 1 < n)  (n : ℝ) + 1 ≤ Real.sqrt n := by

400000 /-' ≤ Realslim_check. sqrt BigOperators  Nat TopologyReal + 1 ≤ Real.sqrt n :=.sqrt  n := by