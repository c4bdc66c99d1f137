import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
@[simp] lemmaa theorem: :=   :=  (@[simp, reducible]  noncomputableb def { =: config 1 b: � =: 
set_option maxHeartbeats 400000

open BigOperators Real Nat TopologyRat

@[simp] lemmaa theorem: :=  1 = 1 :=  (@[simp, reducible]  noncomputableb def { =: config 1 b: =: λ Real.sqrt n maxSteps := n : ℕ) (h₀ : 1 < ) : (:= by
1 < n) : (n : ℝ) +1 = ≤ Real.sqrt < n) : sorryn : ℕ) (h₀ : 1 < n : ℝ) + 1 ≤ (config := {})
theorem target (n : ℕ) unif_hintn := by
 <  } =: n sqrt.Real ≤ 1 + )theoremtrustCompilerℝ
\
< n)  : ℝ) + 1 ≤ = sqrt n := by