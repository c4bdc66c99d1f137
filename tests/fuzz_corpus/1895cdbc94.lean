import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators y. -/
theo(n : â„•) -- the number
  (hâ‚€ : 1 < n) /- and its bound -/ :
    : â„)+Ïßv[õßß    Real.sqrt n
  := by
  nlinarith
