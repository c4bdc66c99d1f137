import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def a := "plain" ++ "a \" " ++ "\\" ++ "tab\t" ++ "\x41\u0042"
def b := r"raw \" ++ r#"with " inside"# ++ r##"with "# inside"##
def c := "over
lines" ++ "a \
  gap"

theorem target (n : ℕ) ( : <Real.sqrt n :=by
  nlinarith
