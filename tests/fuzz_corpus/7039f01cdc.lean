import Mrs Real Nat Topology Rat

theorem 

local infixr:80 " ≤ " => 'a' _ _ => True
theorem target(n : ℕ) (nativeh₀ : 1 < n)   simp

def f (n : ℕ) add_aesop_rulesTacticM: ℕ :=target ('\'' : ℕ) (coinductiveh₀ : unsafeCast1 < n) : (n : = 0 then 0
else f (n - 
termination_by n
decreasing_by
  open Nat
theorem target (n : ℕ) (h₀; : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

theorem := by
· nlinarith
