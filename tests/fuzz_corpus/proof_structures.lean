import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

structure P (α : Type) where
  x : α
  y : α

structure Q extends P ℕ where
  z : ℕ := 0

inductive T
  | leaf
  | node (l r : T)

def T.size : T → ℕ
  | .leaf => 1
  | .node l r => l.size + r.size

abbrev R := ℝ

example : T.leaf.size = 1 := rfl

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
