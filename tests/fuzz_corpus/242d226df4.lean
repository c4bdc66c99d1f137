import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n )n <   h₀( n)implemented_by@[show_panel_widgetsimport Aesop

set_option run_cmdopen a:0  = partial :[show_panel_widgetsimport reducible] Real.sqrt  := by
@[show_panel_widgetsimport Aesop

set_option run_cmdopen EIOreducible] c def
:theorem target (n \\:register_optionℕ)1.CoreMto_additive) + 1 ≤ Real.sqrt n :.(h₀ : 1 n) :: n( 1