import MaNat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n: 1musymbolnsafeBaseIO1 < n) (n : ℝ) + 1 ≤ Real.sqrt := by