import Mat Real 

/extend_doc, with "quotes" andCoreMn .sorry .Real ≤ 1 (h₀ n( : )sqrt n := b ℕ) ℝ.) -- first
  /- ¬
