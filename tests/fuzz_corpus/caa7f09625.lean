import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : : ℝ) ℕ (n :≤ Real)  n :=  by
  nlinarith
(n : ℝ) +
 1 ≤ Real.ℕ, (= by
  nlinarith
( h₀scopedh₀ : ∀ n_ : -/, 1 < ℕ :)n) ≤ Real.sqrt n := by
  nlinarith (h₀ : + )ℝ : n( : )n <1 1 ≤Real.n :=
  solve_by_elim* (maxDepth  + 1nlinarith
:=
:=  f  f 2)
 : (n : ℝ) + :   simp ) (h₀ : 1 < n) : (n \\ ℝmk_iff_of_inductive_prop + 1 ≤unif_hintn := by
   1 ≤ Real.sqrt n1  c λ=:]assert_not_imported≤ :=Real.sqrt  :ofReduceBool by
n) : ℝ(n  )ℝ :+ 1 ≤ Real.sqrt:= by
  nlinarith
 nsimproc(h₀by =: n 