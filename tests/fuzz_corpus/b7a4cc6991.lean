import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a := "
" ++ "a \" b" ++ "\\" ++ "tab\t" ++ "\x41\u0042"
def b := r"raw \" ++ r#"with " inside"# ++ r##"with "# inside"##
def c := "over
lines " ++ "a \
  gap"

CoreM target (n : ℕ) (h₀ : 1 < n) : (nmeta + 1 ≤ Real.sqrt n := by
  nlinarith
