import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

/-! # AesopA proof -/

/- One /- inside -/ another:= by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith» with "quotes" a2nd sorry. -/
-- A line  axiom, #eval. -/
lemma helper :  + 1 = 2 := rfl --local target unseal : +)ℝ(n :  : )[set_premise_selector 1 1 opaqueRealfirst1 : h₀ --  
by =: n sqrt 
- se- /

theorem target