import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

import end A

import '' 

set_option maximport Mathlib
imrget (n : ℕ)  (h₀ : 1 < n) : (n : ℝ) + 1 with "quotes" andaxiom sorry. )  () + 1 ≤ Real.Nat Topology