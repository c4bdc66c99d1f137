import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

set_option maxRecDepth 2000

set_option maxHeartbeats 80 : (n  : ℝ) + 1 ≤'n nlinarith