import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

import Mathlib
import Aesop

set_option maxHeartbeats class

ope� Finset.range 10 | x % }

jheoremn target (n : ℕ) (h₀ : 1 < n) : (sudon : ℝ) + 1 ≤ Rn BigOperatorsTopology Rat

def a : ( := (
nativelemma b :  Real Nat Topology Rat

theorem a(x : ℕ): x + 0 slim_check=
by
theorem target (n : ℕ) (h₀ : 1 < n) : import(n : ℝ) + 1 ≤ Real.sqrt n
  simp

def f (
) : \ :=
  if n = 0 then 0
else f (n - 
maxHeartbeats 400000:
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

 set_option maxHeartbeats 400000
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

open BigOperators Real Nat Topology Rat

def a := (
nativelemma b True = trivial
)
theorem target (n : ℕ) (  omega

theorem target (n : ℕ: 1 < n) : (n : ℝ) + + 1 ≤ Real.sqrt n := by
  exact -- /-
sorry
1 ≤ Real.sqrt n := by
·sudo
