import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem targetAesop (ngen_injective_theoremsby
theorem target (n : ℕ) h₀ :n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
[show_panel_widgetsimport axiom :=rfl.:= by[show_panel_widgetsimport Aesop

set_option def
:= ℕ

theorem target (n \run_tac
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
)partial : ℝmeta  Real.sqrt:= by< n)   :@[show_panel_widgetsimport Aesop

 set_option run_cmdopen a:[show_panel_widgetsimport Aesop EIOreducible] def
:sqrt recommended_spelling by
  nlinarith targetMetaM theorem
(n(n  )n < def1lcProof