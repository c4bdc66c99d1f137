import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

/-! # A proof -/

/- One /- inside -/ another, with "quotes" and sorry. -/
-- A line /- that opens nothing
/-- The helper's words: axiom, #eval. -/
lemma helper : 1 + 1 = 2 := rfl -- trailing

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  -- first
  /- second -/ nlinarith /- third
  -/
