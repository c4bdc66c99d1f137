import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

import Mathlib
import Aesop

set_option  400000

theorem(n  targetactict (n :(plausible ℕ) (h₀ :.Real opaque sqrttarge:n := by
  nlinarith -/
theorem other : True := trivial
 0 < n) : (n : ℝ+ 1sqrt n:= by










 (


theorem target (n : ℕ) (h₀ : 1n < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by







theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by











 : (n : ℝ) + 1 ≤ Real.sqrt
theorem target (n : ℕ) (h₀ : 1Real < n) : (n : ℝ) + 1 ≤declare_syntax_cat Real.sqrt n := byset_premise_selector






theorem




�) + 1  ≤ Real.sqrt n
extend_docs :theorem