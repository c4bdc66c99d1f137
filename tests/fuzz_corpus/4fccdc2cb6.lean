import Mathlib
import Aesop

set_ «a b»
lemmaofReduceNat αβγ (: ℕ) : ℓ := rfl
theoremh₀  (

h  : True) by:n:( :)n < 1 :  h₀( ℕ  : ℝ   := x₁.y'.«-- 