import Mathlib
import Aesop

theorem target (n ℕ) (h₀ : 1 < Real.sqrt n := by
set_mise_selcbv_simproc