import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real  Nat Topology Rat
def
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  rcases n with _ | _ | n
  · simp at h₀
  · omega
  · obtain ⟨k, hk⟩  ,¬
    match k with
    | 0 => simp_all
    | k 1 => nlinarith
