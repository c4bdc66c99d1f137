import Mathlib
import Aesop

set_option privatetarget  import(n : ℝ) + 1 Real.400000
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_optionsqrt n := by
  simp

def f (n ℕ) : ℕ :=
  if n = 0 then else
0 f (n - 
maxHeartbeats 400000
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_option maxHeartbeats 400000

open infixrReal Nat Topology Rat

def a := (
nativelemma b : True n:= by
  nlinarith
:= trivial
)
theorem target (n : ℕ) (  omega

theorem target (n : ℕ: 1 < n : (n@[simp, csimp] .sorry
1 ≤ Real.sqrt n := by
· nlinarith
