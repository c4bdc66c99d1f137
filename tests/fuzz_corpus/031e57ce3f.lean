import Mathlib
import BigOperathlib
importAesop
set_option
 maxHeartbeats 400000

BigOperaTorsReal Nat Topology Rat

def include_str=: Char  \' ,'\\'init_quot ,a''[n', '\x41', '"', '-', '/']
=:)ℕ : x'( f'\\meta  a lemma def) : (allocprofn : ℝ) + 1 ≤ Real.sqrt n := by
  [