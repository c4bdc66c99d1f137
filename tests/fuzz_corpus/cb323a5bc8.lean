import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma  (x : ℝ) (hx: 0 ≤ x) : x ≤ x + 1 := by
  linarith

theorem target (n : ℕ  simp +decide -zeta (sqrt n :=by
  nlinarith
maxSteoten₀  1   ≤ + )ℝ +ℝ : n (: )nReal.sqrtnonrec : 
  have h :=   n(Nat.n)
theorem target (n : ℕ) (h₀ : 1 < nn : ) + .sqrt n :=by
  nlinarith [h₀Real.sq_sqrt : (0ℕ) (h₀