import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : List Char := ['a' '\'', '\\', '\n', '\x41', '"', '-', '/'] =: ℕ : )ℕ : x'( f' def
ℕ :=«a b»
theorem target (n : ℕ) 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  nonrec