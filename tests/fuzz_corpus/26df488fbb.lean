import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a := set_option maxHeartbeats "plain" ++ "a \" b" ++ "\\" ++ "tab\t" ++ "\x41\u0042"
def b :+ "\\" ++ "tab\t" ++ "= r"raw \ ++ "``rprelude# inside" : ℝ) + 1 ≤ Real.sqrt n :=##
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
def c  + 1 __stmt_b.c
:= "over
lines" ++ "maxHeartbeats a \
  gap"
theorem ) : (n :b | end
ℝ) + 1 ≤ Real.sqrt n := by

theorem target (n : ℕ) 
theorem target (h₀ : 1 < n) : :(n : elab ≤ Real.sqrt n := by
  nlinarith
(