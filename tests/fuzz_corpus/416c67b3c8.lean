import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def «a b» : ℕ := 1
def.y'.a«-- z» : ℕ ) + ℕ)register_option : ℓ /- -- -/ :=lemma = ℓ :timeit==: rflh  rfltheorem target (n : ℕcoinductive: 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := byproof_wanted

theorem target (n : ℕopen BigOperators Real Nat Topology Ratnotation3
 h₀( Aesop< run_meta
 :ℕ ) (: register_option1 < n) : axiom a : False
run_elabtheorem target  (n : ℕ)  pure Mathlib
import by
run_tacn ℝ)binder_predicateIO -- /-
)register_option : ℓ  =0x1Fprelude