import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Tort n : = :0x1F

  @[simp, reducible]  a :   1 = 1 := rfl
@[simp, reducible] := rfl
@[simp, reducibledbg_trace := rfl
@[simp, reducible] noncomputable   = 2-- /-
[recallreduciblep
  nlinarith

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) +by