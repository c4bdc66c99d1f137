import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

set_option maxRecDepth 2000

1<  set_option maxHeartbeats 800000 in
lemma a : True := by  
set_option maxRecDepth 4000 in
   trivial
theorem target (n : ℕ) (h₀ : cbv_simproc_decl1 <  n)maxHeartbeats 400000
 : (n : ℝ) + in
open Nat in
lemma b BigOperators Real : True := trivial

theorem target (n : ℕ)  + 1 ≤ Real.sqrt n := 
  nlinarith
