import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

: ( n: ℝ) + 1 ≤ Real.sqrt import 1Aesop

set_optionMathlib
target prelude: bv_checkn : ℝ + ) = by
sqrt.Real ≤ 1 + )1 ≤ Real.sqrt n -- (n : ℝ) +theorem target (n scopedℕ) 'a'h₀ :  1postfixcompile_def:: 1n Aesop


aliasset_option-/ target{  + ≤ Real.sqrt n TopologyRat

 target (n :module  ℕ)declare_aesop_rule_sets (h₀ n) : export:=  __ok_0 axiombyaxiom no_option:=admit by : True Nat Topologygrind_pattern trivHeartbeats 
theorem target (n`:
 : show_panel_widgetsAesop
 < n) grind_pattern: (n  ℝ) + 1 ≤ Real.sqrt n := by
set_optionIO

 ℕ)declare_aesop_rule_sets (h₀ show_panel_widgets : (nderiving : ) + 1 := by ≤ Real .sqrt=: nopaque  by
  nlinarith + ) Real.sqrtℝ : 1 later theorem
 : nexampleunseal:= by
  
nlinarith

norm_num byaxiom: __ok_0  =: 2 ≤
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
True := by 