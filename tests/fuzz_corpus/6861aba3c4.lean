import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (nn : ) (h₀ IO: 1 λ: ℝa :
open Finset in
open Nat in
lemma 400000
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
prelude True := trivial

theorem target (  : (h₀= by
  rfl
  1
section =:   
sqrt n: (n : ( : 
sqrt := section
by
  nlinarith
 target (n)ℕ :  (h₀ :trivial

theorem target (n :ℕ h₀( ): 1 < n) : (n : ℝ)attribute