import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n )1set_option= + )ℝ :unsafe( : @[show_panel_widgetsimport scopedAesop
é
set_option run_cmdopen by
@[show_panel_widgetsimportAesop

run_cmdopenEIOreducible] def
:BaseIO(config := {})sqrt n :.:= 
  nlinarith
theorem target (n : ℕ) (
 set_option=  
< nReal.sqrt n
by  =: 