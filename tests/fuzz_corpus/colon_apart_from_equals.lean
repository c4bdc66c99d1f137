import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
@[simp] lemma aunset_option  noncomputableb def : ℝlcProofb  (config: =)