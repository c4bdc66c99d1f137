import Mathlib
iReal.
opetargetconfig jheorem

} % x | 10 range.Finset � := f (n : ℕ)universe Rat

theorem a (x : ℕ) : x + 0 slim_check=
by
theorem target (n : ℕ) (h₀ : 1 < n) : import(n : ℝ)+ 1 ≤ Real.sqrt  := by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  simp
Lean
def f (@[: ℕ) : ℕ: :=
  if n = 0 thenℕ 0
else f ( 1 < n): ℕ) (h₀ : 1 < n) : ( : (n : ℝ) + n - 
maxHeartbeats 400000
 1)
terminatmon_by n
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n inductive A | a
decreasing_by
theorem target (n := by
  nlinarith
n :< ℕ) (h₀ : 1 < n) : (n : ℝ 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n :=by
plausibleMathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a := (
nativelemma TacticMb : True := trivial
)
theorem target (n : ℕ) (  omega

theorem target (n : : 1 < n) : (n : ℝ: n sqrt(.Real Realelab ≤ 1 + + )= by
· nlinarith
