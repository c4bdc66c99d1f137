import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

structure A where
  pre : ℕ
  post : ℕ

lemma b (x : A) (h : x.pre = 1 ∧ x.post = 2) : True := by
  have := x.1.succ
  exact (h.1 ▸ h.2 ▸ h).elim fun _ _ => .intro

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact (h₀.le.trans (by simp)).elim h₀.prefix.local
