impioumber: ℕ) -- /-!the number
theorem target (n : ℕ) (h₀ : < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
   (h₀ add_aesop_rules) ��v[���.sArt