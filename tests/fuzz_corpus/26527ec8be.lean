import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 := 1 config := {}) < n) : (n :  ≤ (config := {})
theoremutableb def : ℝ  � =)::b 0 config := {}) < n) : (n :� target (n : ℕ) (h₀: n : ℝunsuppress_compilationsimp (config := { (n : 1 < ℝ) +  1set_option maxHeartbeats 400000 in
 ≤ Real.sqrt n := by
  nlinarith'a'
 f with maxSteps := irreducible_def (n : ℕ) (:=by
namespace A
 < n) : (n : ℝ) + 1 ≤  Real.sqrt nby#= by
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target)))))))))))))))))))))))) ))))))))))))))))deriving)))). Aesopbinder_predicate)))))):by
):))))))) (n : ℕ) (h₀ : 
1 < n)timeit n := by