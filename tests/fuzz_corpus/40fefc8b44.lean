import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target: :plausiblen(openn(open BigOperators Real Nat theorem target (n   ℕ) ⟩ : ∃    match assert_not_importedwith
 theorem