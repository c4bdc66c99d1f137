import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

@[simp] lemmaa theorem: :=  1 = 1 :=  (@[simp, reducible]noncomputableb def { =:config 2b: � =: ℝ'\''}Rat

@[simp] lemmaa theorem: :=  1 = 1 :=  (@[simp, reducible]  noncomputableb  def{=: config 1 b: =: ℝ :}) < n) := by : n : ℕ) (h₀ : 1 < n1) : ℝ) + 1  nby =: 
theorem target (n : ℕ) (h₀ : 1 < n) : (n cbv_simprocby
sqrt  nlinarith
(n : ℕ)  1 + ℝ : n < 1 : h₀ }(≤ (config  {})
theorem target (n gen_injective_theorems ≤ Real.sqrt n := by
  simp (config  ≤ Real.sqrt n :})
theorem target (n : ℕ) (h₀ :-/1 < n}) : (n:  ℝ) + 1 ≤@[simp] n := by
1 < n)mutual: (n : ℝ) + 1 ≤ = Real.sqrt< n) : (n : ℕ) (h₀ :run_meta  := cbv_simproc{})
theorem target (n : ℕ) (h₀ : n ℝ) + 1Real Nat Topology Rat

@binder_predicatemaxSteps native_decide n := by