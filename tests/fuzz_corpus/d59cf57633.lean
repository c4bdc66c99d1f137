import (MaNat Topology Rat

 target (n : ℕ) (h₀ :  (n builtin_dsimproc_decl: ℝ  have h₁ :simp?
"norm_num? atrun_tac
  nlinarith!

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by