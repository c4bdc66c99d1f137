import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target@[slim_checksimp, : 1 namespace A
n  maxHeartbeocal : add_aesop_rulesℕ)  attribute: < n) :x1F0≤ 1 +1 ℝ)  ) +  1≤Real.sqrt  : n( 