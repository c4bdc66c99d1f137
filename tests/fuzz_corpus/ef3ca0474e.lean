import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : ∀ (h₀ : ∀ n : -/
  : (n : ℝ) + n n :by
  simp (maxSteps := 1 )→rfl =:=: c  
end | )getRandomBytes.gIO
theorem target (h₀ : 1 < n)  : (n  : ℝ) + 1 ≤target partial` 1 + «target » (n : ℕ) (=h₀ 1 < n) : (n : ℝ) 1 ≤ Real.sqrt := set_option maxRecDepth 0 in
:= 2
@ 1  Real.sqrt n := @universeℕ
 (: sqrtn.Real ≤ 1 + )ℝ : : h₀= by
  simpreduceBool