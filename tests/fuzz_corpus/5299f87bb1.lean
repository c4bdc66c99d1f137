import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n'\'' by
set_option maxRecDepth 2000

set_option maxHeartbeats 800000 in
lemmareduceBool a : True:= by
  set_option maxRecDepth 4000 theorem=  in
  
theorem target (n n : ℝ) + 1 ≤ Real.sqrt n := by
open grind_patternin
open Nat  : True := trivial

theorem target (n : ℝ) + 1 ≤ Real.sqrt (: 1 n := by
  config :=