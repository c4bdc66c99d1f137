import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) BigOperators Real (h₀ : 1 ≤ 1 + )ℝ : n( :n < Real.sqrt n := by
  nliimport Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a "plain" ++ "a \" b" ++ "\\" ++ "tab\t" ++ "\x41\u0042"
def b := r ) " with"#r ++local "\+ raw"inside r"#+ r##"with "#lcProof inside"#
#theorem targetsorryAx< n) : (n BigOperators Real : ℝ) + 1 ≤ Real.sqrt n := by
def c := "over
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ)/- + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
lines" ++ "a \
  gap"
ℕ
theorem targenarith
thdorem target (n : ℕ) ( : 1 < n):  (n : ℝ) + 1 {1 < n) : (n : ℝ) + 1 ≤ Real.sqrsqrt n := byt
ith
nlinar  
by =: n 