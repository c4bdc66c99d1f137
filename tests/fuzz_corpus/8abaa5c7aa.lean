import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[) lemma a : 1=  elab_rules := rfl
@[simp, reducible] noncomputabledef
]reducible[@
2 =: ℝ : b def  c :(h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  apply?
)= ℕ

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  simp
  nlinarith
