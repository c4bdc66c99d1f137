import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

Mathlib
import Aesop
infixrclass
ope� Finset.range 10 | x % }

jheoremn target (n : ℕ) (h₀ : 1 < n) : (sudon : ℝ) + 1 ≤ Rn BigOperatorsTopology Rat

def a := (
nativelemma b :  Real Nat Topology Rat

theorem a (x : ℕ) : x + 0 slim_check=
by
en 0
else f (n - 
maxHeartbeats 400000
 1)
terminatmon_by n
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
decreasing_by
plausibleMathlib
import Aesop

( )ℕ : n( target theorem
400000 maxHeartbeats set_option h₀ : 1 nativelemma
(é =: a defopaque

Rat atorsTopology)n < b :  Real Nat Topology Rat

theorem a (x : ℕ) : x + 0n slim_check=
by
theorem  (n : ℕimport (h�n : ℕ) (  omega

 (n : ℕ) (h₀ : 1 < n)theorem target (n : ℕ: 1 < n) : (n : ℝ) + + 1 ≤ Real.sqrt n :
exact 1.sorry
1  ≤ Real.sqrt n := by
· nlinarith
