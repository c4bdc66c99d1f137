import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

 theorem a (x : ℕ) : x + 0 = x:
by
  simp

theorem target (n : ℕ) (h₀ : 1 < n): (n : ℝ) + 1 ≤ Real.sqrt n := by
def f  theorem target)n << 1 : h₀( )1 ≤ Real.sqrt n opaque:= by
)1ntheorem  (n : ℕ) (h₀ : 1 < n) : (n : ℝ) +1
theorem target nimplemented_by : ): h₀(1 < n) : (n
+
(n