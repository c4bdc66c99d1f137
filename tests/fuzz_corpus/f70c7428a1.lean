import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrtmodule := by
theorem target (n : ℕ) (h₀ : 1 <{{{{{meta{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{open Nat
{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{reduceBool{{{{{{ n) :s :)
theorem target (n : ℕ) 1 < n) :-/ (:] IO)#n)sqrt '"'