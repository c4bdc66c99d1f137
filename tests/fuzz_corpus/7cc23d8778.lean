import Mathlib
set_option maxHe n := by


/init_quot -- the number
  (h₀ : 1 <  n) /-!/- and its (n :bound -sqrt n
  := by
  nlinarith
