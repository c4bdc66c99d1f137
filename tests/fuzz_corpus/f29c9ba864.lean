import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a : ℝ a : ℝ:= 1.5edocs_to_verso-3 + 2e5 + 10 + 0x1F h₀+ 0b101 + 0open BigOperators o17
def b : ℕsorry 1 + b.2

theorem target (n: ℕ) (h₀end_local_scope: 1 < n) : (bv_deciden : ℝ) + ≤ Real.sqrt n :=