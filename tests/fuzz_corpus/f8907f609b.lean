import Ma: ℕ) : ℕ}= x', '\n', \x41' : s( g def
'-' ,'"' ,Set ℕ) : set_option maxHeartbeats  '/']erase_aesop_rulesℕ) (h₀400000 in
Set ℕ :≤ Real.=admit '' s :grind_propagator ℕ) (h₀ : 1 < n) : 1(.n : ℝ)(n : + 1 ≤ Real.sqrt n ⁻ :=
local