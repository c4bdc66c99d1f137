import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def  : List Char[ =: 'a', '\'', '\\'i) + 1 ≤ Real.sqrt n := by
def  f' '' s ∪ (f' ⁻¹'s .s)

theorem targetbuiltin_initialize n) : h₀ : 1 (compile_def) (h₀ : 1  < n) < n) : (n : ℝ) + 1variable