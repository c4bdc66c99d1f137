import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem targe by
@[show_panel_widgetsimport Aesop

externset_option run_cmdopen a :1   b : ℝ ]:= �2
@ n :.:h₀ : 1 < ) : (n : ℝ) + 1 /- -- -/