import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (nh₀ : ℕ) (h₀ : ∀ (h₀ : ∀ n : -/
 n) : (nn := by
  simp (maxSteps := 1 )→ : ℝ) + n: ℕ) (h₀ : 1 < n) : (n : ) + 1 ≤ ��al.sqrt n := by
  simp (maxSteps := 1 )→rfl =:=: c  
end | h₀ : 1 unsafeEIO Real400000

open BigOperators Real Nat Topology Rat

theorem1` «target » (n : ℕ) (1 )ℝ: n) : (n < 1 noncomputable def target simproctheorem
]reducible[@
2 =:1.1 < n) dsimproc_decl: (n : ℝ) def
by =:.sqrt n :=byopen A in
