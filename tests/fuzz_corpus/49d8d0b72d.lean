import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 <  n) : (n : ℝ) + 1 ≤ Aℕ : openn A
n : ℕ)  ( < ngrind_pattern :target ) (h₀ : 1 < n);(n .discharge sqrtbuiltin_simproc_decl := le_of_lt by
  solve_by_elim (discharge :n  ``includeset_option maxHeartbeatary_noten) : (n : (nλ ) +\ ℝ)  :⟨o\