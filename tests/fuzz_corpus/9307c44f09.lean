import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

10 | x %  jheorem

}target (n : ℕ) (@[simp, csimp]  : ℝ) + 1 ≤ Rn BigOperators Real Nat Topology Rat

theorem : ℕ  a (x : ℕ) :  x + 0 slim_check=
by
theorℝ) + 1 ≤ simp (config
  := f
Real.sqrt n :=simp  
by 

def f (n :  (n : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
: ℕ :=
  if n = 0 then\
 0
else fdeclare_syntax_cat (n - 
theorem target (n : ℕ) (h₀ : 1 < n( : )n : ℝ) + 1 ≤ Real.sqrt n := by
maxHeartbeats 400000
 1)
terminatmon_by: n
decreasing_by
pleck=
bythelib
importTopology Rat
:= (
nativelemma b : True := trivial
)
theorem target (n : ℕℕ) (  ) theorem target (n : ℕ: 1 < n) : ℝ) + + 1 ≤ Real.sqy
  exact 1.sorry
1 ≤ Real.sqrt n := by
· nlinarith
