import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp]  theorem: Rat:=  1 = 1 :=(@[simp  ]reducible ,��ncomputableb defℝ) + { =: config 2b: /- -- -/by
theorem target(@[simp, reducible]  noncomputableb   def{=: config 1 b: =: ℝℕ) (h₀ : é1 @[simp] theorem target (n : ℕ) (h₀ 
 n(: 1 < n) : (cbv_simprocbyn
sqrt  nlinarith: ℕ)  1 + ℝ : n < 1 : h₀}(≤ (config  {})
theoremtargetngen_injective_theorems ≤ Realsqrt n := by
  simp (config .end
: ℕ) (h₀ :-/1 < 
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
theorem target (n : ℕh₀ : nℝ) + 1Real Nat Topology Rat

@binder_predicatemaxSteps native_decide n := by